import { z } from 'zod';
import type { Outcome, Settlement } from '../core/messages/ports.ts';
import { StoreError } from './errors.ts';

const outcome = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('sent'), sent: z.object({ messageId: z.string(), rid: z.string() }) }),
  z.object({
    kind: z.literal('refused'),
    reason: z.string(),
    message: z.string(),
    answer: z.object({ errcode: z.number(), errmsg: z.string(), rid: z.string() }).nullable(),
  }),
  z.object({ kind: z.literal('unknown') }),
]);

/** The one text of an unknown fate, by which it is told from those that are final. */
export const UNKNOWN = '{"kind":"unknown"}';

/** An outcome as the text that the ledger keeps. */
export function encodeOutcome(value: Outcome): string {
  return value.kind === 'unknown' ? UNKNOWN : JSON.stringify(value);
}

/** The outcome in a stored text. Throws a StoreError that names the store when it is none. */
export function decodeOutcome(text: string, store: string): Outcome {
  try {
    return outcome.parse(JSON.parse(text)) as Outcome;
  } catch {
    // The text, and what parsers say of it, may quote what WeChat answered.
    throw new StoreError(
      `${store}: the outcome of a message is damaged. Restore the store from a backup; the message's idempotency key cannot be answered until it expires.`,
    );
  }
}

/** What becomes of a reservation that ends. `doubted`: returned by a message of unknown fate. */
export type Release = Exclude<Settlement['permit'], 'held'> | 'doubted';

/** How a settled send releases its permit, unless that is held. */
export function releaseOf(outcome: Settlement['outcome'], permit: Settlement['permit']): Release {
  if (permit === 'spent' || permit === 'void') return permit;
  return outcome.kind === 'unknown' ? 'doubted' : 'returned';
}
