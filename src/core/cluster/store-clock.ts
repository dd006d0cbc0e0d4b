import type { Clock, Timer } from '../kernel/clock.ts';

/** The answer to a question that took longer does not say what time it is. */
const LONGEST_QUESTION_MS = 1_000;

/**
 * The clock that all replicas of a store go by: their own monotonic one, set by the store's. One machine whose clock is
 * wrong then harms nobody.
 */
export class StoreClock implements Clock {
  readonly #clock: Clock;
  #offset: number;
  #isSet = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  now(): number {
    return Math.round(this.#clock.monotonic() + this.#offset);
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  schedule(delayMs: number, fn: () => void): Timer {
    return this.#clock.schedule(delayMs, fn);
  }

  /** Sets it by the store's answer `time` to a question that left at `askedAt`, in monotonic time, and is answered now. */
  set(time: number, askedAt: number): void {
    const now = this.#clock.monotonic();
    // The first answer is better than a machine's own clock however long it took.
    if (this.#isSet && now - askedAt > LONGEST_QUESTION_MS) return;
    this.#isSet = true;
    this.#offset = time - (askedAt + now) / 2;
  }
}
