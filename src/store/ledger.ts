import type { StatementSync } from 'node:sqlite';
import type {
  Begun,
  Deposit,
  DrawnPermit,
  KeyQuery,
  KnownKey,
  Ledger,
  NewPermit,
  NewSend,
  Outcome,
  PermitTally,
  PermitWish,
  Settlement,
} from '../core/messages/ports.ts';
import type { GroupCommit } from './group-commit.ts';
import { decodeOutcome, encodeOutcome, type Release, releaseOf, UNKNOWN } from './outcome.ts';
import { drawn, Permits } from './permits.ts';
import { Quota } from './quota.ts';

/** How much a purge forgets in one transaction: between them others have their turn. */
const PURGE_STEP = 500;
/** What a count may take, in rows that are written. */
const COUNT_WEIGHT = 100;

/** A row of `sends`. */
interface SendRow {
  readonly id: number;
  readonly send_id: string;
  readonly app_id: string;
  readonly digest: string;
  readonly start_time: number;
  readonly quota_day: number;
  readonly permit_id: number | null;
  readonly outcome: string | null;
  readonly key: string | null;
  readonly key_expire_time: number | null;
}

/** The ledger in a database. */
export class SqliteLedger implements Ledger {
  readonly #commits: GroupCommit;
  readonly #permits: Permits;
  readonly #quota: Quota;
  readonly #insert: StatementSync;
  readonly #byId: StatementSync;
  readonly #byKey: StatementSync;
  readonly #expired: StatementSync;
  readonly #open: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;

  constructor(commits: GroupCommit) {
    const { db } = commits;
    this.#commits = commits;
    this.#permits = new Permits(db);
    this.#quota = new Quota(db);
    this.#insert = db.prepare(
      `INSERT INTO sends (send_id, app_id, digest, start_time, quota_day, permit_id, key, key_expire_time)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#byId = db.prepare('SELECT * FROM sends WHERE send_id = ?');
    this.#byKey = db.prepare('SELECT * FROM sends WHERE app_id = ? AND key = ?');
    this.#expired = db.prepare('SELECT * FROM sends WHERE key_expire_time <= ? LIMIT ?');
    this.#open = db.prepare('SELECT * FROM sends WHERE outcome IS NULL');
    this.#update = db.prepare('UPDATE sends SET outcome = ?, permit_id = ? WHERE id = ?');
    this.#delete = db.prepare('DELETE FROM sends WHERE id = ?');
  }

  begin(send: NewSend): Promise<Begun> {
    return this.#commits.run(() => {
      const { sendId, appId, key, digest, now, quota } = send;
      const known = key === '' ? undefined : this.#keyed(appId, key);
      if (known && isKept(known, now)) return this.#repeated(known, digest);
      if (known) this.#forget(known, now);

      if (this.#quota.spent(appId, quota.day) >= quota.limit) return { kind: 'over_quota' };
      const permit = this.#permits.find(appId, send.permit, now);
      if (permit === 'taken' || (!permit && send.permit.kind === 'form')) return { kind: 'no_permit' };
      if (permit) this.#permits.reserve(permit.id);
      else if (send.permit.kind === 'named') this.#permits.note(appId, send.permit.value, now);
      this.#quota.spend(appId, quota.day);
      const [keptKey, keptUntil] = key === '' ? [null, null] : [key, send.keyExpireTime];
      this.#insert.run(sendId, appId, digest, now, quota.day, permit?.id ?? null, keptKey, keptUntil);
      return { kind: 'begun', permit: drawn(permit) };
    });
  }

  lookup({ appId, key, digest, now }: KeyQuery): Promise<KnownKey | undefined> {
    return this.#commits.run(() => {
      const known = this.#keyed(appId, key);
      return known && isKept(known, now) ? this.#repeated(known, digest) : undefined;
    });
  }

  redraw(sendId: string, wish: PermitWish, now: number): Promise<DrawnPermit | null> {
    return this.#commits.run(() => {
      const send = this.#unfinished(sendId);
      if (!send) return null;
      this.#release(send, 'void', now);
      const found = this.#permits.find(send.app_id, wish, now);
      const permit = found === 'taken' ? undefined : found;
      if (permit) this.#permits.reserve(permit.id);
      this.#update.run(send.outcome, permit?.id ?? null, send.id);
      return drawn(permit);
    });
  }

  settle(sendId: string, { outcome, permit, now }: Settlement): Promise<void> {
    return this.#commits.run(() => {
      const send = this.#unfinished(sendId);
      if (!send) return;
      const isKept = send.key !== null && outcome.kind !== 'freed';
      const isHeld = isKept && permit === 'held';
      if (!isHeld) this.#release(send, releaseOf(outcome, permit), now);
      if (isKept) this.#update.run(encodeOutcome(outcome), isHeld ? send.permit_id : null, send.id);
      else this.#delete.run(send.id);
      if (outcome.kind === 'freed') this.#quota.giveBack(send.app_id, send.quota_day);
    });
  }

  deposit(appId: string, permits: readonly NewPermit[], limit?: number): Promise<Deposit> {
    return this.#commits.run(() => {
      const taken = new Map<string, NewPermit>();
      for (const permit of permits) {
        const { kind, value } = permit;
        const name = `${kind} ${value}`;
        if (!taken.has(name) && !this.#permits.isKnown(appId, kind, value)) taken.set(name, permit);
      }
      const isFull = limit !== undefined && this.#permits.held(appId) + taken.size > limit;
      if (taken.size > 0 && isFull) return 'full';
      for (const permit of taken.values()) this.#permits.add(appId, permit);
      return { deposited: taken.size, duplicates: permits.length - taken.size };
    }, permits.length);
  }

  count(appId: string, toUser: string | undefined, now: number): Promise<readonly PermitTally[]> {
    return this.#commits.run(() => this.#permits.tally(appId, toUser, now), COUNT_WEIGHT);
  }

  recover(now: number): Promise<number> {
    return this.#commits.run(() => {
      const sends = this.#open.all() as unknown as SendRow[];
      for (const send of sends) {
        if (send.key === null) this.#forget(send, now);
        else this.#update.run(UNKNOWN, send.permit_id, send.id);
      }
      return sends.length;
    });
  }

  async purge(now: number): Promise<{ keys: number; permits: number }> {
    const keys = await this.#inSteps(() => {
      const sends = this.#expired.all(now, PURGE_STEP) as unknown as SendRow[];
      for (const send of sends) this.#forget(send, now);
      return sends.length;
    });
    const permits = await this.#inSteps(() => this.#permits.purge(now, PURGE_STEP));
    await this.#commits.run(() => this.#quota.purge(now));
    return { keys, permits };
  }

  /** Repeats a step, each in a transaction of its own, until it has less to do than it may. Returns the sum. */
  async #inSteps(step: () => number): Promise<number> {
    for (let sum = 0; ; ) {
      const done = await this.#commits.run(step, PURGE_STEP);
      sum += done;
      if (done < PURGE_STEP) return sum;
    }
  }

  #keyed(appId: string, key: string): SendRow | undefined {
    return this.#byKey.get(appId, key) as SendRow | undefined;
  }

  /** The answer to a message whose key is known. */
  #repeated(send: SendRow, digest: string): KnownKey {
    if (send.digest !== digest) return { kind: 'key_reused' };
    const outcome = this.#outcome(send);
    if (outcome && outcome.kind !== 'unknown') return { kind: 'settled', outcome };
    const permit = send.permit_id === null ? undefined : this.#permits.get(send.permit_id);
    return { kind: 'unsettled', sendId: send.send_id, owner: '', startTime: send.start_time, permit: drawn(permit) };
  }

  /** A send that may still be settled: a settlement that is written again changes nothing. */
  #unfinished(sendId: string): SendRow | undefined {
    const send = this.#byId.get(sendId) as SendRow | undefined;
    return send && (send.outcome === null || send.outcome === UNKNOWN) ? send : undefined;
  }

  /** Deletes a send. One that still holds a permit is of unknown fate, and the permit is usable again. */
  #forget(send: SendRow, now: number): void {
    this.#release(send, 'doubted', now);
    this.#delete.run(send.id);
  }

  /** Ends the reservation of a send that has one. */
  #release({ permit_id, start_time: startTime }: SendRow, how: Release, now: number): void {
    if (permit_id !== null) this.#permits.release(permit_id, how, { startTime, now });
  }

  #outcome({ outcome }: SendRow): Outcome | undefined {
    return outcome === null ? undefined : decodeOutcome(outcome, this.#commits.name);
  }
}

/** Whether the key of a send that has one is kept now. */
function isKept({ key_expire_time }: SendRow, now: number): boolean {
  return Number(key_expire_time) > now;
}
