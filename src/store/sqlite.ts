import type { StatementSync } from 'node:sqlite';
import type { Store, StoredApp } from '../core/tokens/ports.ts';
import { SealedError } from './errors.ts';
import type { GroupCommit } from './group-commit.ts';
import type { Keyring } from './keyring.ts';
import { decodeRecord, encodeRecord } from './record.ts';

/** The apps' records in a database. */
export class SqliteStore implements Store {
  readonly #commits: GroupCommit;
  readonly #keyring: Keyring;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;

  constructor(commits: GroupCommit, keyring: Keyring) {
    this.#commits = commits;
    this.#keyring = keyring;
    this.#select = commits.db.prepare('SELECT app_id, record FROM app');
    this.#upsert = commits.db.prepare('INSERT OR REPLACE INTO app (app_id, record) VALUES (?, ?)');
  }

  load(): Promise<readonly StoredApp[]> {
    const { name } = this.#commits;
    return this.#commits.run(() => {
      const refused: SealedError[] = [];
      const apps = this.#select.all().flatMap(({ app_id, record }) => {
        try {
          const text = this.#keyring.open(String(app_id), String(record), name);
          return [decodeRecord(String(app_id), text, name)];
        } catch (error) {
          if (!(error instanceof SealedError)) throw error;
          refused.push(error);
          return [];
        }
      });
      if (refused.length > 0) throw this.#keyring.refusal(name, refused);
      return apps;
    });
  }

  save(app: StoredApp): Promise<void> {
    const record = this.#keyring.seal(app.appId, encodeRecord(app));
    return this.#commits.run(() => {
      this.#upsert.run(app.appId, record);
    });
  }

  /** Closes the database, and with it all that shares it. */
  async close(): Promise<void> {
    this.#commits.close();
  }
}
