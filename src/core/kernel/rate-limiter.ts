/**
 * Limits a rate by GCRA: turns are due at even distances, and each may be taken as early as the burst allows. All times are
 * monotonic milliseconds.
 */
export class RateLimiter {
  readonly #everyMs: number;
  readonly #earlyMs: number;
  /** From when the next turn is on time. */
  #dueAt = Number.NEGATIVE_INFINITY;

  /** One turn each `everyMs` (0: no limit), up to `earlyMs` before it is on time. */
  constructor({ everyMs, earlyMs }: { readonly everyMs: number; readonly earlyMs: number }) {
    this.#everyMs = everyMs;
    this.#earlyMs = Math.max(0, earlyMs);
  }

  /** In how many whole milliseconds the next turn may be taken. */
  waitMs(now: number): number {
    return Math.max(0, Math.ceil(this.#dueAt - this.#earlyMs - now));
  }

  /** Takes a turn and returns 0; or returns in how many milliseconds the next may be taken. */
  take(now: number): number {
    const waitMs = this.waitMs(now);
    if (waitMs === 0) this.#dueAt = Math.max(this.#dueAt, now) + this.#everyMs;
    return waitMs;
  }

  /** Whether nothing is left of the turns that were taken: a new one would do the same. */
  isIdle(now: number): boolean {
    return this.#dueAt <= now;
  }

  /** A turn that was taken was not used: the next may have it. */
  giveBack(): void {
    this.#dueAt -= this.#everyMs;
  }
}
