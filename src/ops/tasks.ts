import { schedule } from 'node-cron';

/** Something that is done again and again until it is stopped. */
export interface Task {
  /** Ends it; does nothing when it has ended. */
  stop(): void;
}

/**
 * Calls `sweep` at each full and half minute of the wall clock, so that a timer that was lost, or that slept with the
 * machine, is made up for within 30 s. It does not keep the process open. `onError` is told what `sweep` throws.
 */
export function startSweep(sweep: () => void, onError: (error: unknown) => void): Task {
  return startTask('*/30 * * * * *', sweep, onError);
}

/**
 * Calls `reseal` now and then every five minutes. One that is still running is not joined by another. It does not keep the process
 * open. `onError` is told why it failed: the next one tries again.
 */
export function startResealing(reseal: () => Promise<void>, onError: (error: unknown) => void): Task {
  let running: Promise<void> | undefined;
  const run = () => {
    running ??= reseal()
      .catch(onError)
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  void run();
  return startTask('0 */5 * * * *', run, onError);
}

/** What a purge has forgotten. */
export interface Purged {
  readonly keys: number;
  readonly permits: number;
}

/**
 * Calls `purge` each night at 03:30 in Asia/Shanghai. A purge that is still running is not joined by another. It does not
 * keep the process open. `onDone` is told how much was forgotten, `onError` why nothing was: the next night tries again.
 */
export function startPurge(options: {
  readonly purge: () => Promise<Purged>;
  readonly onDone: (purged: Purged) => void;
  readonly onError: (error: unknown) => void;
}): Task {
  const { purge, onDone, onError } = options;
  const run = () => purge().then(onDone, onError);
  return startTask('30 3 * * *', run, onError, 'Asia/Shanghai');
}

/**
 * Does `run` whenever `times` (a cron expression with seconds or without, by the wall clock, in `timezone` or the machine's)
 * says so, unless the last one still runs. It does not keep the process open. `onError` is told what `run` throws.
 */
function startTask(times: string, run: () => unknown, onError: (error: unknown) => void, timezone?: string): Task {
  const task = schedule(times, run, {
    ...(timezone !== undefined && { timezone }),
    noOverlap: true,
    unref: true,
    // The library writes coloured text to the console, where our logs are. A missed run is what the next one is for.
    logger: { info() {}, warn() {}, debug() {}, error: (message, error) => onError(error ?? message) },
  });
  return { stop: () => void task.destroy() };
}
