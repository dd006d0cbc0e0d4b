import type { StatementSync } from 'node:sqlite';
import type { StoredTicket, TicketKey, TicketStore } from '../core/tickets/ports.ts';
import { SealedError } from './errors.ts';
import type { GroupCommit } from './group-commit.ts';
import type { Keyring } from './keyring.ts';
import { decodeTicket, encodeTicket, ticketTypeOf } from './ticket-record.ts';

/** The tickets in a database, which one process owns. */
export class SqliteTickets implements TicketStore {
  readonly #commits: GroupCommit;
  readonly #keyring: Keyring;
  readonly #all: StatementSync;
  readonly #one: StatementSync;
  readonly #upsert: StatementSync;

  constructor(commits: GroupCommit, keyring: Keyring) {
    const { db } = commits;
    this.#commits = commits;
    this.#keyring = keyring;
    this.#all = db.prepare('SELECT app_id, type, record FROM ticket');
    this.#one = db.prepare('SELECT record FROM ticket WHERE app_id = ? AND type = ?');
    this.#upsert = db.prepare('INSERT OR REPLACE INTO ticket (app_id, type, record) VALUES (?, ?, ?)');
  }

  load(): Promise<readonly StoredTicket[]> {
    const { name } = this.#commits;
    return this.#commits.run(() => {
      const refused: SealedError[] = [];
      const tickets = this.#all.all().flatMap(({ app_id, type: named, record }) => {
        const type = ticketTypeOf(String(named));
        if (!type) return [];
        try {
          return [decodeTicket({ appId: String(app_id), type }, String(record), this.#keyring, name)];
        } catch (error) {
          if (!(error instanceof SealedError)) throw error;
          refused.push(error);
          return [];
        }
      });
      if (refused.length > 0) throw this.#keyring.refusal(name, refused);
      return tickets;
    });
  }

  read(key: TicketKey): Promise<StoredTicket | undefined> {
    const { name } = this.#commits;
    return this.#commits.run(() => {
      const row = this.#one.get(key.appId, key.type);
      return row && decodeTicket(key, String(row['record']), this.#keyring, name);
    });
  }

  save(record: StoredTicket): Promise<void> {
    const text = encodeTicket(record, this.#keyring);
    return this.#commits.run(() => {
      this.#upsert.run(record.appId, record.type, text);
    });
  }

  async claim(): Promise<boolean> {
    return true;
  }

  async release(): Promise<void> {}
}
