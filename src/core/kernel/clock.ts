/** A timer that has not fired yet. */
export interface Timer {
  /** Prevents the call; does nothing when it has already happened. */
  cancel(): void;
}

/** Where time comes from. Everything that needs it is given one of these. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970. It may jump in either direction. */
  now(): number;
  /** Milliseconds that never run backwards; only differences mean anything. It may stand still while the machine sleeps. */
  monotonic(): number;
  /** Calls `fn` once, `delayMs` of monotonic time from now (0 or less: as soon as possible). */
  schedule(delayMs: number, fn: () => void): Timer;
}

/** Uniform random numbers in [0, 1). */
export type Random = () => number;

/** Replicas that go by the store's clock differ by less. */
export const CLOCKS_AGREE_MS = 2_000;
