import { startTask, type Task } from './task.ts';

/**
 * Calls `sweep` at each full and half minute of the wall clock, so that a timer that was lost, or that slept with the
 * machine, is made up for within 30 s. It does not keep the process open. `onError` is told what `sweep` throws.
 */
export function startSweep(sweep: () => void, onError: (error: unknown) => void): Task {
  return startTask('*/30 * * * * *', sweep, onError);
}
