import { schedule } from 'node-cron';

/** A sweep that runs until it is stopped. */
export interface Sweep {
  /** Ends it; does nothing when it has ended. */
  stop(): void;
}

/**
 * Calls `sweep` at each full and half minute of the wall clock, so that a timer that was lost, or that slept with the
 * machine, is made up for within 30 s. It does not keep the process open. `onError` is told what `sweep` throws.
 */
export function startSweep(sweep: () => void, onError: (error: unknown) => void): Sweep {
  const task = schedule('*/30 * * * * *', sweep, {
    noOverlap: true,
    unref: true,
    // The library writes coloured text to the console, where our logs are. A missed run is what the next one is for.
    logger: { info() {}, warn() {}, debug() {}, error: (message, error) => onError(error ?? message) },
  });
  return { stop: () => void task.destroy() };
}
