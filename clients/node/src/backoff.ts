import type { RpcError } from './errors.ts';
import type { Timing } from './options.ts';

/** The pauses between streams that fail: rules R5, R8 and R9 of clients/SPEC.md. */
export class Backoff {
  /** In a row, of one kind. */
  failures = 0;
  #isSlow = false;
  readonly #timing: Timing;
  readonly #random: () => number;

  constructor(timing: Timing, random: () => number = Math.random) {
    this.#timing = timing;
    this.#random = random;
  }

  /** The pause after a failure, in milliseconds. `lived`: for how long its stream did after its first message; undefined: no message came. */
  after(error: RpcError, lived: number | undefined): number {
    const { backoffBaseMs, backoffCapMs, backoffFloorMs, lifeMs, retryCapMs, slowMs, slowCapMs } = this.#timing;
    // A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
    const isSlow = error.needsOperator && !(lived !== undefined && error.reason === 'CREDENTIALS_EXPIRED');
    if (isSlow !== this.#isSlow || (lived !== undefined && lived >= lifeMs)) this.failures = 0;
    this.#isSlow = isSlow;
    const [base, cap] = isSlow ? [slowMs, slowCapMs] : [backoffBaseMs, backoffCapMs];
    const bound = Math.min(cap, base * 2 ** Math.min(this.failures, 30));
    this.failures++;
    const asked = Math.min(error.retryAfterMs, retryCapMs);
    if (isSlow) return this.#spread(Math.max(bound, asked));
    const pause = backoffFloorMs + this.#random() * Math.max(0, bound - backoffFloorMs);
    return pause >= asked ? pause : this.#spread(asked);
  }

  #spread(ms: number): number {
    return ms * (1 + this.#random() / 5);
  }
}
