import type { StatementSync } from 'node:sqlite';
import type { Store, StoredApp } from '../core/tokens/ports.ts';
import type { GroupCommit } from './group-commit.ts';
import { decodeRecord, encodeRecord } from './record.ts';

/** The apps' records in a database. */
export class SqliteStore implements Store {
  readonly #commits: GroupCommit;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;

  constructor(commits: GroupCommit) {
    this.#commits = commits;
    this.#select = commits.db.prepare('SELECT app_id, record FROM app');
    this.#upsert = commits.db.prepare('INSERT OR REPLACE INTO app (app_id, record) VALUES (?, ?)');
  }

  load(): Promise<readonly StoredApp[]> {
    return this.#commits.run(() =>
      this.#select.all().map(({ app_id, record }) => decodeRecord(String(app_id), String(record), this.#commits.name)),
    );
  }

  save(app: StoredApp): Promise<void> {
    const record = encodeRecord(app);
    return this.#commits.run(() => {
      this.#upsert.run(app.appId, record);
    });
  }

  /** Closes the database, and with it all that shares it. */
  async close(): Promise<void> {
    this.#commits.close();
  }
}
