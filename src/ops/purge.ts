import { startTask, type Task } from './task.ts';

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
