import type { StatementSync } from 'node:sqlite';
import { explain } from './errors.ts';
import type { GroupCommit } from './group-commit.ts';
import { PLAIN } from './keyring.ts';
import { PAGE, type RawRecord, type RawRecords } from './raw-records.ts';

/** A file that is larger is rewritten when it is opened, and not while callers wait: this much takes 40 ms of a core. */
const MOST_BYTES_IN_USE = 8 * 2 ** 20;

/** The records in a database, and what its file still holds of those before them. */
export class SqliteRawRecords implements RawRecords {
  readonly #commits: GroupCommit;
  readonly #page: StatementSync;
  readonly #swap: StatementSync;
  readonly #remove: StatementSync;
  readonly #ticketPage: StatementSync;
  readonly #swapTicket: StatementSync;
  readonly #removeTicket: StatementSync;

  /** `sealing`: the id of the key by which records are sealed from now on. */
  constructor(commits: GroupCommit, sealing: string) {
    const { db } = commits;
    this.#commits = commits;
    this.#page = db.prepare('SELECT app_id, record FROM app WHERE app_id > ? ORDER BY app_id LIMIT ?');
    this.#swap = db.prepare('UPDATE app SET record = ? WHERE app_id = ? AND record = ?');
    this.#remove = db.prepare('DELETE FROM app WHERE app_id = ? AND record = ?');
    this.#ticketPage = db.prepare(
      'SELECT app_id, type, record FROM ticket WHERE (app_id, type) > (?, ?) ORDER BY app_id, type LIMIT ?',
    );
    this.#swapTicket = db.prepare('UPDATE ticket SET record = ? WHERE app_id = ? AND type = ? AND record = ?');
    this.#removeTicket = db.prepare('DELETE FROM ticket WHERE app_id = ? AND type = ? AND record = ?');
    // Before anything is written: what another key seals, or none, stays in the file until it is scrubbed again.
    if (this.#scrubbedBy() !== sealing) db.exec('DELETE FROM scrubbed');
    const others = db.prepare(
      'SELECT 1 FROM (SELECT record FROM app UNION ALL SELECT record FROM ticket) WHERE substr(record, 1, ?) <> ? LIMIT 1',
    );
    const prefix = `lp1:${sealing}:`;
    if (sealing !== PLAIN && !others.get(prefix.length, prefix)) this.#scrub(sealing);
  }

  async *pages(): AsyncGenerator<readonly RawRecord[]> {
    for (let last = ''; ; ) {
      const found = await this.#commits.run(() => this.#page.all(last, PAGE), PAGE);
      yield found.map(({ app_id, record }) => ({
        appId: String(app_id),
        stored: String(record),
        text: String(record),
      }));
      if (found.length < PAGE) break;
      last = String(found.at(-1)?.['app_id']);
    }
    for (let last = ['', ''] as readonly [string, string]; ; ) {
      const found = await this.#commits.run(() => this.#ticketPage.all(...last, PAGE), PAGE);
      const records = found.map(({ app_id, type, record }) => ({
        appId: String(app_id),
        ticket: String(type),
        stored: String(record),
        text: String(record),
      }));
      yield records;
      const end = records.at(-1);
      if (records.length < PAGE || !end) return;
      last = [end.appId, end.ticket];
    }
  }

  swap({ appId, ticket, stored }: RawRecord, text: string): Promise<boolean> {
    return this.#commits.run(() =>
      ticket === undefined
        ? this.#swap.run(text, appId, stored).changes === 1
        : this.#swapTicket.run(text, appId, ticket, stored).changes === 1,
    );
  }

  remove({ appId, ticket, stored }: RawRecord): Promise<boolean> {
    return this.#commits.run(() =>
      ticket === undefined
        ? this.#remove.run(appId, stored).changes === 1
        : this.#removeTicket.run(appId, ticket, stored).changes === 1,
    );
  }

  readonly scrub = async (key: string): Promise<'scrubbed' | 'clean' | 'later'> => {
    try {
      if (this.#scrubbedBy() === key) return 'clean';
      const bytes = this.#pragma('page_count') * this.#pragma('page_size');
      if (bytes > MOST_BYTES_IN_USE) return 'later';
      this.#scrub(key);
      return 'scrubbed';
    } catch (error) {
      throw explain(error, this.#commits.name);
    }
  };

  /** Rewrites the file without what it no longer uses, and empties the log, which has older pages. */
  #scrub(key: string): void {
    if (this.#scrubbedBy() === key) return;
    const { db } = this.#commits;
    db.exec('VACUUM');
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    db.prepare('INSERT INTO scrubbed (key) VALUES (?)').run(key);
  }

  #scrubbedBy(): string | undefined {
    const row = this.#commits.db.prepare('SELECT key FROM scrubbed').get();
    return row && String(row['key']);
  }

  #pragma(name: string): number {
    return Number(Object.values(this.#commits.db.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
  }
}
