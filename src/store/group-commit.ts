import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { explain } from './errors.ts';

/** Operations of so much weight are committed together, and the next when all else that was due has had its turn. */
const MOST_WEIGHT = 500;

interface Operation {
  readonly weight: number;
  readonly act: () => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The one writer of a database.
 *
 * A commit waits for the disk and blocks the process meanwhile, so operations that arrive in one turn of the event loop
 * share one.
 */
export class GroupCommit {
  readonly db: DatabaseSync;
  /** The file, or what messages call the database. */
  readonly name: string;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #mark: StatementSync;
  readonly #keep: StatementSync;
  readonly #undo: StatementSync;
  #waiting: Operation[] = [];

  /** `db` is closed with it. */
  constructor(db: DatabaseSync, name: string) {
    this.db = db;
    this.name = name;
    this.#begin = db.prepare('BEGIN');
    this.#commit = db.prepare('COMMIT');
    this.#mark = db.prepare('SAVEPOINT operation');
    this.#keep = db.prepare('RELEASE operation');
    this.#undo = db.prepare('ROLLBACK TO operation');
  }

  /**
   * Resolves with what `act` returns, once all that it wrote is durable. Rejects with a StoreError when `act` throws or
   * nothing can be written; nothing is then left of it, and an `act` that throws does not harm the others. `weight` is how
   * many rows it may be about.
   */
  run<T>(act: () => T, weight = 1): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(this.#flushSome);
      this.#waiting.push({ act, weight, resolve: resolve as (result: unknown) => void, reject });
    });
  }

  /** Commits what is waiting, and closes the database. What comes later is rejected. */
  close(): void {
    this.#flush(this.#waiting.splice(0));
    this.db.close();
  }

  readonly #flushSome = (): void => {
    let weight = 0;
    let count = 0;
    while (count < this.#waiting.length && weight < MOST_WEIGHT) weight += (this.#waiting[count++] as Operation).weight;
    const operations = this.#waiting.splice(0, count);
    // What comes meanwhile waits behind those that are left.
    if (this.#waiting.length > 0) setImmediate(this.#flushSome);
    this.#flush(operations);
  };

  #flush(operations: readonly Operation[]): void {
    if (operations.length === 0) return;
    const answers: (() => void)[] = [];
    try {
      this.#begin.run();
      for (const operation of operations) answers.push(this.#attempt(operation));
      this.#commit.run();
    } catch (error) {
      const failure = explain(error, this.name);
      this.#rollback();
      for (const { reject } of operations) reject(failure);
      return;
    }
    for (const answer of answers) answer();
  }

  /** Returns what is to be called when the transaction is durable. Throws when there is no transaction any more. */
  #attempt({ act, resolve, reject }: Operation): () => void {
    this.#mark.run();
    try {
      const result = act();
      this.#keep.run();
      return () => resolve(result);
    } catch (error) {
      // A full or faulty disk makes SQLite give up the transaction, and what follows would be committed piece by piece.
      if (!this.db.isTransaction) throw error;
      this.#undo.run();
      this.#keep.run();
      const failure = explain(error, this.name);
      return () => reject(failure);
    }
  }

  #rollback(): void {
    try {
      if (this.db.isTransaction) this.db.exec('ROLLBACK');
    } catch {
      // The failure that led here is the one to report; the next commit shows whether the database is usable.
    }
  }
}
