import type { Clock, Timer } from '../core/kernel/clock.ts';

/** The longest delay that `setTimeout` takes; it turns a longer one into 1 ms. */
const LONGEST_MS = 2 ** 31 - 1;

/** Waits that are longer end together, at full tenths of a second: thousands of apps wake the process less often so. */
const LONG_MS = 10_000;
const TOGETHER_MS = 100;

/**
 * The machine's own clocks.
 *
 * A timer never fires early by `monotonic()`, and any delay is fine; after more than 10 s it fires up to 0.1 s late. A timer that is pending keeps the process open, on
 * purpose: a write that is to be retried or a client that waits to reconnect has no open socket to do it, and would be
 * lost without a word. What is finished cancels its timers, and then nothing of them holds the process.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule(delayMs: number, fn: () => void): Timer {
    const waitMs = Math.max(0, delayMs);
    const exact = performance.now() + waitMs;
    const due = waitMs > LONG_MS ? Math.ceil(exact / TOGETHER_MS) * TOGETHER_MS : exact;
    const arm = (leftMs: number) => setTimeout(wake, Math.min(Math.ceil(leftMs), LONGEST_MS));
    // setTimeout may fire up to a millisecond early, and a long delay takes several of them.
    const wake = () => {
      const leftMs = due - performance.now();
      if (leftMs > 0) timeout = arm(leftMs);
      else fn();
    };
    let timeout = arm(due - performance.now());
    return { cancel: () => clearTimeout(timeout) };
  },
};
