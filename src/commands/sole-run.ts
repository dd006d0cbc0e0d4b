import { DatabaseSync } from 'node:sqlite';
import { Failure } from './exit.ts';

/**
 * Sees to it that one process at a time works with a results file, until it is disposed of. SQLite holds the lock of an
 * empty file beside it, which the system takes from a process that dies. The file stays: to remove it would free a lock
 * that another process has just been given. Throws a Failure where another run has it.
 */
export function soleRun(results: string): Disposable {
  const path = `${results}.lock`;
  try {
    const lock = new DatabaseSync(path);
    lock.exec('BEGIN EXCLUSIVE');
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    const { errcode, message } = error as Error & { errcode?: number };
    throw new Failure(
      errcode === SQLITE_BUSY
        ? `another run is sending this file: it has ${path}. Wait until it ends, or end it`
        : `${path} cannot be locked: ${message}; see that this user may write to its folder`,
    );
  }
}

const SQLITE_BUSY = 5;
