import type { Clock } from './clock.ts';

/** Slower drift than this is the clocks' own and changes nothing. */
const JUMP_MS = 1_000;

/** One moment on all time scales, in milliseconds. */
export interface Moment {
  readonly elapsed: number;
  /** By the wall clock, which may have moved against `elapsed` since the timeline last looked. */
  readonly wall: number;
  /** Wall time less elapsed time, as the timeline has it. */
  readonly offset: number;
  /** All leaps so far: elapsed less monotonic time. */
  readonly leaptMs: number;
}

/** The wall time of an elapsed one, as `Timeline.wallOf` has it at that moment. */
export function wallOf({ offset }: Moment, elapsed: number): number {
  return Math.round(elapsed + offset);
}

/**
 * The time by which tokens age, and its place on the wall clock.
 *
 * `elapsed` is monotonic time plus every leap that the wall clock made ahead of it: a machine that slept is older by as
 * much, and a clock that was merely set forward looks the same from here. Everything counted in `elapsed` (lives, pauses,
 * cooldowns) ages by a leap without being touched. The wall times of its moments stay what they were, but for a clock that
 * was set back.
 */
export class Timeline {
  readonly #clock: Clock;
  /** Wall time less elapsed time; held still, so that a token's expiry does not flicker. */
  #offset: number;
  #leaptMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Milliseconds that never run backwards; only differences mean anything. */
  elapsed(): number {
    return this.#clock.monotonic() + this.#leaptMs;
  }

  /** Now. */
  moment(): Moment {
    return { elapsed: this.elapsed(), wall: this.#clock.now(), offset: this.#offset, leaptMs: this.#leaptMs };
  }

  /** All leaps so far, in milliseconds. */
  get leaptMs(): number {
    return this.#leaptMs;
  }

  /** Wall time of a moment, in whole milliseconds since 1970. */
  wallOf(elapsed: number): number {
    return Math.round(elapsed + this.#offset);
  }

  /** The moment of a wall time. */
  momentOf(wall: number): number {
    return wall - this.#offset;
  }

  /** Whether `resync` has something to adopt. Cheap enough for each call. */
  get jumped(): boolean {
    return Math.abs(this.#drift()) >= JUMP_MS;
  }

  /**
   * Adopts the wall clock as it is now. Returns by how many milliseconds it had moved against monotonic time (0: it had
   * not). More than 0 is a leap; less than 0: the clock was set back.
   */
  resync(): number {
    const byMs = this.#drift();
    if (Math.abs(byMs) < JUMP_MS) return 0;
    if (byMs > 0) this.#leaptMs += byMs;
    else this.#offset += byMs;
    return byMs;
  }

  #drift(): number {
    return this.#clock.now() - this.elapsed() - this.#offset;
  }
}
