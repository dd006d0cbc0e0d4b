import type { SQLOutputValue, StatementSync } from 'node:sqlite';
import type { PermitKind } from '../core/messages/ports.ts';
import type { GroupCommit } from './group-commit.ts';
import { decodeOutcome, UNKNOWN } from './outcome.ts';
import { joinPermits, type PermitRow, type QuotaRow, type Row, type Rows, type SendRow, type User } from './rows.ts';

/** How much is read or written in one transaction. */
const STEP = 500;

type Found = Record<string, SQLOutputValue>;

/** The ledger's rows in a database. */
export class SqliteRows implements Rows {
  readonly #commits: GroupCommit;
  readonly #permits: StatementSync;
  readonly #sends: StatementSync;
  readonly #quotas: StatementSync;
  readonly #permit: StatementSync;
  readonly #insertPermit: StatementSync;
  readonly #updatePermit: StatementSync;
  readonly #reserve: StatementSync;
  readonly #send: StatementSync;
  readonly #insertSend: StatementSync;
  readonly #settleSend: StatementSync;
  readonly #quota: StatementSync;

  constructor(commits: GroupCommit) {
    const { db } = commits;
    this.#commits = commits;
    this.#permits = db.prepare(
      `SELECT *, doubtful OR id IN (SELECT permit_id FROM sends WHERE key IS NULL AND permit_id IS NOT NULL) AS doubted
       FROM permits WHERE id > ? ORDER BY id LIMIT ${STEP}`,
    );
    this.#sends = db.prepare(
      `SELECT sends.*, permits.kind AS permit_kind, permits.value AS permit_value
       FROM sends LEFT JOIN permits ON permits.id = sends.permit_id
       WHERE sends.id > ? AND key IS NOT NULL ORDER BY sends.id LIMIT ${STEP}`,
    );
    this.#quotas = db.prepare('SELECT * FROM quota');
    this.#permit = db.prepare('SELECT * FROM permits WHERE app_id = ? AND value = ? AND kind = ?');
    this.#insertPermit = db.prepare(
      `INSERT INTO permits (app_id, kind, value, to_user, template_id, collect_time, expire_time, uses, reserved, doubtful)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`,
    );
    this.#updatePermit = db.prepare(
      `UPDATE permits SET to_user = ?, template_id = ?, collect_time = ?, expire_time = ?, uses = ?, doubtful = ? WHERE id = ?`,
    );
    this.#reserve = db.prepare('UPDATE permits SET reserved = max(reserved + ?, 0) WHERE id = ?');
    this.#send = db.prepare('SELECT * FROM sends WHERE send_id = ? OR (app_id = ? AND key = ?) ORDER BY send_id <> ?');
    this.#insertSend = db.prepare(
      `INSERT INTO sends (send_id, app_id, digest, start_time, quota_day, permit_id, outcome, key, key_expire_time)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#settleSend = db.prepare('UPDATE sends SET outcome = ?, permit_id = ? WHERE id = ?');
    this.#quota = db.prepare(
      `INSERT INTO quota (app_id, day, sends) VALUES (?, ?, ?)
       ON CONFLICT (app_id, day) DO UPDATE SET sends = excluded.sends WHERE quota.sends < excluded.sends`,
    );
  }

  async *dump(): AsyncGenerator<readonly Row[]> {
    yield* this.#pages(this.#permits, toPermit);
    yield* this.#pages(this.#sends, (found) => this.#toSend(found));
    yield await this.#commits.run(() => this.#quotas.all().map(toQuota));
  }

  restore(rows: readonly Row[]): Promise<number> {
    return this.#commits.run(() => rows.filter((row) => this.#put(row)).length, rows.length);
  }

  /** The file is locked while it is open. */
  async users(): Promise<ReadonlyMap<string, User>> {
    return new Map();
  }

  async *#pages<T extends Row>(page: StatementSync, toRow: (found: Found) => T): AsyncGenerator<readonly Row[]> {
    for (let last = 0; ; ) {
      const found = await this.#commits.run(() => page.all(last), STEP);
      yield found.map(toRow);
      if (found.length < STEP) return;
      last = Number(found.at(-1)?.['id']);
    }
  }

  #toSend(found: Found): SendRow {
    const { outcome, permit_kind: kind, permit_value: value } = found;
    const text = outcome === null || outcome === undefined ? UNKNOWN : String(outcome);
    decodeOutcome(text, this.#commits.name); // what is damaged is not to be copied
    return {
      row: 'send',
      sendId: String(found['send_id']),
      appId: String(found['app_id']),
      key: String(found['key']),
      keyExpireTime: Number(found['key_expire_time']),
      digest: String(found['digest']),
      startTime: Number(found['start_time']),
      quotaDay: Number(found['quota_day']),
      permit: typeof kind === 'string' ? { kind: kind as PermitKind, value: String(value) } : null,
      outcome: text,
    };
  }

  /** Whether it changed anything. */
  #put(row: Row): boolean {
    switch (row.row) {
      case 'permit':
        return this.#putPermit(row);
      case 'send':
        return this.#putSend(row);
      case 'quota':
        return this.#quota.run(row.appId, row.day, row.sends).changes > 0;
    }
  }

  #putPermit(row: PermitRow): boolean {
    const { appId, kind, value } = row;
    const found = this.#permit.get(appId, value, kind);
    if (!found) {
      const { toUser, templateId, collectTime, expireTime, uses, doubtful } = row;
      this.#insertPermit.run(
        ...[appId, kind, value, toUser, templateId, collectTime, expireTime, uses, Number(doubtful)],
      );
      return true;
    }
    const joined = joinPermits(toPermit({ ...found, doubted: found['doubtful'] ?? 0 }), row);
    if (!joined) return false;
    const { toUser, templateId, collectTime, expireTime, uses, doubtful } = joined;
    this.#updatePermit.run(
      ...[toUser, templateId, collectTime, expireTime, uses, Number(doubtful), Number(found['id'])],
    );
    return true;
  }

  #putSend(row: SendRow): boolean {
    const { sendId, appId, key, digest, startTime, quotaDay, keyExpireTime, outcome } = row;
    const found = this.#send.get(sendId, appId, key, sendId);
    if (found) {
      const isOpen = found['outcome'] === null || found['outcome'] === UNKNOWN;
      if (found['send_id'] !== sendId || !isOpen || outcome === UNKNOWN) return false;
      this.#hold(found['permit_id'], -1);
    }
    const { kind, value } = row.permit ?? {};
    const permit = kind && value !== undefined ? this.#permit.get(appId, value, kind) : undefined;
    const permitId = permit ? Number(permit['id']) : null;
    this.#hold(permitId, 1);
    if (found) this.#settleSend.run(outcome, permitId, Number(found['id']));
    else this.#insertSend.run(...[sendId, appId, digest, startTime, quotaDay, permitId, outcome, key, keyExpireTime]);
    return true;
  }

  #hold(permitId: SQLOutputValue | undefined, by: number): void {
    if (typeof permitId === 'number') this.#reserve.run(by, permitId);
  }
}

function toPermit(found: Found): PermitRow {
  const expireTime = found['expire_time'];
  return {
    row: 'permit',
    appId: String(found['app_id']),
    kind: String(found['kind']) as PermitKind,
    value: String(found['value']),
    toUser: String(found['to_user']),
    templateId: String(found['template_id']),
    collectTime: Number(found['collect_time']),
    expireTime: typeof expireTime === 'number' ? expireTime : null,
    uses: Number(found['uses']),
    doubtful: found['doubted'] === 1,
  };
}

function toQuota(found: Found): QuotaRow {
  return {
    row: 'quota',
    appId: String(found['app_id']),
    day: Number(found['day']),
    sends: Number(found['sends']),
  };
}
