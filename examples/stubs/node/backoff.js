const PAUSE_MIN_MS = 100;
const GOAWAY_MAX_MS = 60_000;
/** The longest that a RetryInfo is believed. */
export const RETRY_MAX_MS = 300_000;

/** How long to wait between streams that fail: counts `failures` in a row, of one kind, and makes the pauses longer with each. */
export class Backoff {
  failures = 0;
  #slow = false;

  /**
   * The pause after a failure, in milliseconds. It is drawn at random, so that many clients that lost one broker do not return
   * together, and is never shorter than the broker asks. lived: the stream that failed was a good one.
   */
  after(failure, lived) {
    // A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
    const renewed = lived && failure.reason === 'CREDENTIALS_EXPIRED';
    const slow = failure.needsOperator && !renewed;
    if (slow !== this.#slow) [this.failures, this.#slow] = [0, slow];
    const [base, longest] = slow ? [30_000, 300_000] : [500, 10_000];
    const bound = Math.min(longest, base * 2 ** Math.min(this.failures, 10));
    this.failures++;
    const asked = Math.min(failure.retryAfterMs, RETRY_MAX_MS);
    if (slow) return spread(Math.max(bound, asked));
    const pause = PAUSE_MIN_MS + Math.random() * (bound - PAUSE_MIN_MS);
    return pause > asked ? pause : spread(asked);
  }
}

/** The pause after a goaway that asks for one. */
export function afterGoaway(ms) {
  return Math.max(PAUSE_MIN_MS, Math.min(ms, GOAWAY_MAX_MS));
}

/** Adds up to a fifth. */
function spread(ms) {
  return ms * (1 + Math.random() / 5);
}
