import type { Clock, Timer } from '../core/clock.ts';

/** The longest delay that `setTimeout` takes; it turns a longer one into 1 ms. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * The machine's own clocks.
 *
 * A timer never fires early by `monotonic()`, and any delay is fine. A timer that is pending keeps the process open, on
 * purpose: a write that is to be retried or a client that waits to reconnect has no open socket to do it, and would be
 * lost without a word. What is finished cancels its timers, and then nothing of them holds the process.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule(delayMs: number, fn: () => void): Timer {
    const waitMs = Math.max(0, delayMs);
    const due = performance.now() + waitMs;
    const arm = (leftMs: number) => setTimeout(wake, Math.min(Math.ceil(leftMs), LONGEST_MS));
    // setTimeout may fire up to a millisecond early, and a long delay takes several of them.
    const wake = () => {
      const leftMs = due - performance.now();
      if (leftMs > 0) timeout = arm(leftMs);
      else fn();
    };
    let timeout = arm(waitMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};
