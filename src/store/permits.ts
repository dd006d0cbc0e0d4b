import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { SHANGHAI_MS } from '../core/kernel/quota-day.ts';
import { FORM_LIFE_MS, MEMORY_MS } from '../core/messages/permits.ts';
import {
  type DrawnPermit,
  MOST_OF_USER,
  type NewPermit,
  type PermitKind,
  type PermitTally,
  type PermitWish,
  TALLY_SLOT_MS,
} from '../core/messages/ports.ts';
import type { Release } from './outcome.ts';

/** The day in Shanghai of a column, or of an expression, with a time. */
const shanghaiDay = (time: string) => `CAST((${time} + ${SHANGHAI_MS}) / 86400000 AS INTEGER)`;

const UNEXPIRED = '(expire_time IS NULL OR expire_time > ?)';
const USABLE = `uses > reserved AND ${UNEXPIRED}`;

/** A permit in the table. */
export interface FoundPermit extends Omit<DrawnPermit, 'doubtful'> {
  readonly id: number;
  readonly doubtful: number;
}

/** A permit as the ledger's callers see it. */
export function drawn(permit: FoundPermit | undefined): DrawnPermit | null {
  if (!permit) return null;
  const { kind, value, doubtful } = permit;
  return doubtful === 1 ? { kind, value, doubtful: true } : { kind, value };
}

/** The permits' table. Each method is part of its caller's transaction; times are wall-clock milliseconds. */
export class Permits {
  readonly #insert: StatementSync;
  readonly #known: StatementSync;
  readonly #note: StatementSync;
  readonly #byId: StatementSync;
  readonly #byValue: StatementSync;
  readonly #oldest: StatementSync;
  readonly #reserve: StatementSync;
  readonly #release: StatementSync;
  readonly #doubt: StatementSync;
  readonly #spend: StatementSync;
  readonly #void: StatementSync;
  readonly #held: StatementSync;
  readonly #tallyUser: StatementSync;
  readonly #tallyApp: StatementSync;
  readonly #purge: StatementSync;

  constructor(db: DatabaseSync) {
    this.#insert = db.prepare(
      `INSERT INTO permits (app_id, kind, value, to_user, template_id, collect_time, expire_time, uses, reserved)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (app_id, value, kind) DO UPDATE SET
         to_user = excluded.to_user, collect_time = excluded.collect_time, expire_time = excluded.expire_time,
         uses = excluded.uses
       WHERE permits.to_user = ''`,
    );
    this.#known = db.prepare("SELECT 1 FROM permits WHERE app_id = ? AND value = ? AND kind = ? AND to_user <> ''");
    this.#note = db.prepare(
      `INSERT INTO permits (app_id, kind, value, to_user, template_id, collect_time, expire_time, uses, reserved, doubtful)
       VALUES (?, 'form_id', ?, '', '', ?, ?, 0, 0, 1) ON CONFLICT (app_id, value, kind) DO NOTHING`,
    );
    this.#byId = db.prepare('SELECT id, kind, value, doubtful FROM permits WHERE id = ?');
    this.#byValue = db.prepare(
      `SELECT id, kind, value, doubtful, uses > reserved AS free FROM permits
       WHERE app_id = ? AND value = ? AND kind <> 'consent' AND uses > 0 AND ${UNEXPIRED}
       ORDER BY free DESC LIMIT 1`,
    );
    // `uses > 0` is what makes SQLite take the index; those without template are forms and payments. The time of collection
    // passes over what has expired, however many that are.
    this.#oldest = db.prepare(
      `SELECT id, kind, value, doubtful FROM permits
       WHERE app_id = ? AND to_user = ? AND template_id = ? AND collect_time > ? AND uses > 0 AND ${USABLE}
       ORDER BY collect_time LIMIT 1`,
    );
    this.#reserve = db.prepare('UPDATE permits SET reserved = reserved + 1 WHERE id = ?');
    this.#release = db.prepare('UPDATE permits SET reserved = reserved - 1 WHERE id = ?');
    this.#doubt = db.prepare('UPDATE permits SET doubtful = 1 WHERE id = ?');
    this.#spend = db.prepare(
      `UPDATE permits SET reserved = reserved - 1, uses = max(uses - 1, 0),
         expire_time = iif(uses > 1, expire_time, coalesce(expire_time, ?))
       WHERE id = ?`,
    );
    this.#void = db.prepare(
      `UPDATE permits SET uses = 0, expire_time = coalesce(expire_time, ?)
       WHERE uses > 0 AND (id = ? OR id IN (
         SELECT others.id FROM permits AS others JOIN permits AS one ON one.id = ?
         WHERE others.app_id = one.app_id AND others.to_user = one.to_user AND others.template_id = one.template_id
           AND others.uses > 0 AND others.kind = 'consent' AND others.collect_time <= ?
         LIMIT ${MOST_OF_USER.voided}))`,
    );
    this.#held = db.prepare('SELECT sum(held) AS held FROM permit_tallies WHERE app_id = ?');
    this.#tallyUser = db.prepare(
      `SELECT kind, ${shanghaiDay('expire_time')} AS expireDay, count(*) AS permits,
         sum(uses - reserved) AS messages
       FROM (SELECT * FROM permits WHERE app_id = ? AND to_user = ? AND uses > 0 LIMIT ${MOST_OF_USER.counted})
       WHERE ${USABLE}
       GROUP BY kind, expireDay ORDER BY kind, expireDay`,
    );
    this.#tallyApp = db.prepare(
      `SELECT kind, iif(slot < 0, NULL, ${shanghaiDay(`slot * ${TALLY_SLOT_MS}`)}) AS expireDay, sum(permits) AS permits,
         sum(messages) AS messages
       FROM permit_tallies WHERE app_id = ? AND (slot < 0 OR slot > ?) AND permits > 0
       GROUP BY kind, expireDay ORDER BY kind, expireDay`,
    );
    // Reserved ones wait for their sends.
    this.#purge = db.prepare(
      'DELETE FROM permits WHERE id IN (SELECT id FROM permits WHERE expire_time <= ? AND reserved = 0 LIMIT ?)',
    );
  }

  /** How many with uses left the app has, those that have expired and are not purged among them. */
  held(appId: string): number {
    return Number(this.#held.get(appId)?.['held'] ?? 0);
  }

  /** Whether the app has a permit of this kind and value that was deposited. */
  isKnown(appId: string, kind: PermitKind, value: string): boolean {
    return this.#known.get(appId, value, kind) !== undefined;
  }

  /** Adds a permit that is not known. */
  add(appId: string, { kind, value, toUser, templateId, collectTime, expireTime, uses }: NewPermit): void {
    this.#insert.run(appId, kind, value, toUser, templateId, collectTime, expireTime, uses);
  }

  /**
   * Remembers that a message uses a form that nobody deposited. Should it be deposited later it is doubtful; until then it
   * has no user, and no uses.
   */
  note(appId: string, value: string, now: number): void {
    this.#note.run(appId, value, now, now + MEMORY_MS);
  }

  /** The permit with this id, usable or not. */
  get(id: number): FoundPermit | undefined {
    return this.#byId.get(id) as FoundPermit | undefined;
  }

  /** The usable permit that fits the wish best. `taken`: others have reserved all uses of the one that it names. */
  find(appId: string, wish: PermitWish, now: number): FoundPermit | 'taken' | undefined {
    switch (wish.kind) {
      case 'none':
        return undefined;
      case 'named': {
        const named = this.#byValue.get(appId, wish.value, now) as (FoundPermit & { free: number }) | undefined;
        return named?.free === 0 ? 'taken' : named;
      }
      case 'form':
        return this.#oldest.get(appId, wish.toUser, '', now - FORM_LIFE_MS, now) as FoundPermit | undefined;
      case 'consent':
        return this.#oldest.get(appId, wish.toUser, wish.templateId, -Number.MAX_VALUE, now) as FoundPermit | undefined;
    }
  }

  /** Keeps one use of it for a message. */
  reserve(id: number): void {
    this.#reserve.run(id);
  }

  /** Ends one reservation, of a send that began at `startTime`. */
  release(id: number, how: Release, { startTime, now }: { startTime: number; now: number }): void {
    if (how === 'spent') {
      this.#spend.run(now + MEMORY_MS, id);
      return;
    }
    this.#release.run(id);
    if (how === 'doubted') this.#doubt.run(id);
    if (how === 'void') this.#void.run(now + MEMORY_MS, id, id, startTime);
  }

  /** Counts usable permits of one user, or of all (undefined), but for those that expire within the ten minutes of `now`. */
  tally(appId: string, toUser: string | undefined, now: number): PermitTally[] {
    const rows =
      toUser === undefined
        ? this.#tallyApp.all(appId, Math.floor(now / TALLY_SLOT_MS))
        : this.#tallyUser.all(appId, toUser, now);
    return rows.map(({ kind, expireDay, permits, messages }) => ({
      kind: kind as PermitKind,
      expireDay: expireDay as number | null,
      permits: Number(permits),
      messages: Number(messages),
    }));
  }

  /** Forgets expired permits, at most `limit`; says how many. */
  purge(now: number, limit: number): number {
    return Number(this.#purge.run(now, limit).changes);
  }
}
