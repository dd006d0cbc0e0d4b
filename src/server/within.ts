import type { Clock } from '../core/kernel/clock.ts';

/** Waits for `promise`, at most `limitMs`. Resolves with whether it settled in time; rejects as it does. */
export function within(clock: Clock, limitMs: number, promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.schedule(limitMs, () => resolve(false));
    promise.then(() => resolve(true), reject).finally(() => timer.cancel());
  });
}
