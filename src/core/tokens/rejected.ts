import { LingpaiError, storeUnavailableError } from '../kernel/errors.ts';
import type { TokenState } from './state.ts';
import type { Witness } from './suspicion.ts';

/**
 * The token that WeChat refused, by the word of `witness`: a caller's, unless it says otherwise. `reporter` is that caller's name;
 * undefined: nobody knows it.
 */
export type Rejected = { readonly witness?: Witness; readonly reporter?: string | undefined } & (
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'generation'; readonly generation: number }
);

/** Whether a state says what this token is. */
export function isKnown(rejected: Rejected, { generation, current, previous }: TokenState): boolean {
  if (rejected.kind === 'generation') return rejected.generation <= generation;
  return rejected.token === current?.value || rejected.token === previous?.value;
}

/**
 * Whether the rejected token has already been replaced. Throws INVALID_REQUEST where it cannot have been, and
 * STORE_UNAVAILABLE where another replica may have published it: where this is not `isSure` to be the newest state.
 */
export function isOld(rejected: Rejected, { appId, generation, current }: TokenState, isSure: boolean): boolean {
  if (rejected.kind === 'token') return rejected.token !== current?.value;
  if (rejected.generation > generation) {
    if (!isSure) throw storeUnavailableError(appId, 'rejected_generation is not known here');
    const description = `must not be above ${generation}, the newest generation`;
    throw new LingpaiError('rejected_generation was never published', {
      reason: 'INVALID_REQUEST',
      appId,
      violations: [{ field: 'rejected_generation', description }],
    });
  }
  return rejected.generation < generation;
}
