import type { Clock, Timer } from '../kernel/clock.ts';

/** The least time between two questions that callers cause, beyond the first few. */
const EVERY_MS = 2_000;
const AT_ONCE = 5;

/** How often callers may have WeChat asked about one app: a few times at once, then every 2 s. */
export class RateLimiter {
  #spentUntil = Number.NEGATIVE_INFINITY;

  /** Takes a turn and returns 0; or how many milliseconds it is until the next. */
  take(now: number): number {
    const until = Math.max(this.#spentUntil, now) + EVERY_MS;
    const waitMs = until - AT_ONCE * EVERY_MS - now;
    if (waitMs > 0) return waitMs;
    this.#spentUntil = until;
    return 0;
  }
}

/** Those who wait until a turn may be free: they look again together. */
export class Turns {
  #next: { readonly promise: Promise<void>; readonly resolve: () => void; readonly timer: Timer } | undefined;

  /** Resolves in so many milliseconds, or when the first who waits now is due. */
  after(waitMs: number, clock: Clock): Promise<void> {
    if (!this.#next) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#next = { promise, resolve, timer: clock.schedule(waitMs, () => this.end()) };
    }
    return this.#next.promise;
  }

  /** Has all who wait look again. */
  end(): void {
    this.#next?.timer.cancel();
    this.#next?.resolve();
    this.#next = undefined;
  }
}
