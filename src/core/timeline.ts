import type { Clock } from './clock.ts';

/** Slower drift than this is the clocks' own and changes nothing. */
const JUMP_MS = 1_000;

/**
 * Translates between monotonic time, by which tokens live, and wall time, by which they are stored and shown.
 * The difference is held still, so that a token's expiry does not flicker, until `resync` finds that a clock jumped.
 */
export class Timeline {
  readonly #clock: Clock;
  #offset: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Wall time of a monotonic moment, in whole milliseconds since 1970. */
  wallOf(monotonic: number): number {
    return Math.round(monotonic + this.#offset);
  }

  /** Monotonic time of a moment on the wall clock. */
  monotonicOf(wall: number): number {
    return wall - this.#offset;
  }

  /** Whether `resync` has something to adopt. Cheap enough for each call. */
  get jumped(): boolean {
    return Math.abs(this.#drift()) >= JUMP_MS;
  }

  /**
   * Adopts the wall clock as it is now. Returns by how many milliseconds it had moved against monotonic time (0: it had
   * not). More than 0: it was set forward, or the machine slept; the two look alike from here. Less: it was set back.
   */
  resync(): number {
    const byMs = this.#drift();
    if (Math.abs(byMs) < JUMP_MS) return 0;
    this.#offset += byMs;
    return byMs;
  }

  #drift(): number {
    return this.#clock.now() - this.#clock.monotonic() - this.#offset;
  }
}
