import { schedule } from 'node-cron';

/** Something that is done again and again until it is stopped. */
export interface Task {
  /** Ends it; does nothing when it has ended. */
  stop(): void;
}

/**
 * Does `run` whenever `times` (a cron expression with seconds or without, by the wall clock, in `timezone` or the machine's)
 * says so, unless the last one still runs. It does not keep the process open. `onError` is told what `run` throws.
 */
export function startTask(
  times: string,
  run: () => unknown,
  onError: (error: unknown) => void,
  timezone?: string,
): Task {
  const task = schedule(times, run, {
    ...(timezone !== undefined && { timezone }),
    noOverlap: true,
    unref: true,
    // The library writes coloured text to the console, where our logs are. A missed run is what the next one is for.
    logger: { info() {}, warn() {}, debug() {}, error: (message, error) => onError(error ?? message) },
  });
  return { stop: () => void task.destroy() };
}
