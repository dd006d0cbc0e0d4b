import { resolve } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Store, StoredApp } from '../core/ports.ts';
import { openDatabase } from './database.ts';
import { explain } from './errors.ts';
import { decodeRecord, encodeRecord } from './record.ts';

interface Save {
  readonly appId: string;
  readonly record: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * A store in one SQLite file, for one broker at a time.
 *
 * A commit waits for the disk and blocks the process meanwhile, so saves that arrive together share one.
 */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #upsert: StatementSync;
  #waiting: Save[] = [];

  /** `db` comes from `openDatabase(path)`, and is closed with the store. */
  constructor(db: DatabaseSync, path: string) {
    this.#db = db;
    this.#file = resolve(path);
    this.#upsert = db.prepare('INSERT OR REPLACE INTO app (app_id, record) VALUES (?, ?)');
  }

  /** Opens the file, or makes it. Throws a StoreError that names it. */
  static open(path: string): SqliteStore {
    const db = openDatabase(path);
    try {
      return new SqliteStore(db, path);
    } catch (error) {
      db.close();
      throw explain(error, resolve(path));
    }
  }

  async load(): Promise<readonly StoredApp[]> {
    try {
      const rows = this.#db.prepare('SELECT app_id, record FROM app').all();
      return rows.map(({ app_id, record }) => decodeRecord(String(app_id), String(record), this.#file));
    } catch (error) {
      throw explain(error, this.#file);
    }
  }

  save(app: StoredApp): Promise<void> {
    const record = encodeRecord(app);
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#commit());
      this.#waiting.push({ appId: app.appId, record, resolve, reject });
    });
  }

  async close(): Promise<void> {
    this.#commit();
    this.#db.close();
  }

  #commit(): void {
    const saves = this.#waiting;
    if (saves.length === 0) return;
    this.#waiting = [];
    try {
      this.#db.exec('BEGIN');
      for (const { appId, record } of saves) this.#upsert.run(appId, record);
      this.#db.exec('COMMIT');
    } catch (error) {
      const failure = explain(error, this.#file);
      this.#rollback();
      for (const { reject } of saves) reject(failure);
      return;
    }
    for (const { resolve } of saves) resolve();
  }

  #rollback(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    } catch {
      // The failure that led here is the one to report; the next commit shows whether the database is usable.
    }
  }
}
