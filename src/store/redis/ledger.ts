import { oldestQuotaDay, shanghaiDay } from '../../core/kernel/quota-day.ts';
import {
  type Begun,
  type Deposit,
  type DrawnPermit,
  type KeyQuery,
  type KnownKey,
  type Ledger,
  MOST_OF_USER,
  type NewPermit,
  type NewSend,
  type PermitKind,
  type PermitTally,
  type PermitWish,
  type Settlement,
  TALLY_SLOT_MS,
} from '../../core/messages/ports.ts';
import { StoreError } from '../errors.ts';
import { decodeOutcome, encodeOutcome, releaseOf } from '../outcome.ts';
import type { Connection } from './connection.ts';
import { BEGIN, COUNT, DEPOSIT, LOOKUP, PURGE_KEYS, PURGE_PERMITS, RECOVER, REDRAW, SETTLE } from './ledger-scripts.ts';

/** A script keeps everyone else waiting: this much is done in one. */
const STEP = 500;
/** Permits that are added or not as one. */
const DEPOSIT_STEP = 1_000;

/** The ledger in Redis: each call is one script, but for long ones, which are several. */
export class RedisLedger implements Ledger {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #prefix: string;

  /** `name` is what errors call the store. */
  constructor({ connection, name, prefix }: { connection: Connection; name: string; prefix: string }) {
    this.#connection = connection;
    this.#name = name;
    this.#prefix = prefix;
  }

  async begin(send: NewSend): Promise<Begun> {
    const { sendId, owner, appId, key, digest, now, keyExpireTime, quota, permit } = send;
    const about = [sendId, owner, appId, key, digest, now, keyExpireTime, quota.day, quota.limit];
    const answer = (await this.#run(BEGIN, [...about, ...wishOf(permit)])) as string[];
    const [kind, ...rest] = answer;
    switch (kind) {
      case 'begun':
        return { kind, permit: drawn(rest) };
      case 'over_quota':
      case 'no_permit':
        return { kind };
      case 'id_reused':
        throw new StoreError(`${this.#name}: the id of a message is taken.`);
      default:
        return this.#known(answer);
    }
  }

  async lookup({ appId, key, digest, now }: KeyQuery): Promise<KnownKey | undefined> {
    const answer = (await this.#run(LOOKUP, [appId, key, digest, now])) as string[];
    return answer.length === 0 ? undefined : this.#known(answer);
  }

  #known([kind, ...rest]: readonly string[]): KnownKey {
    switch (kind) {
      case 'settled':
        return { kind, outcome: decodeOutcome(rest[0] ?? '', this.#name) };
      case 'unsettled': {
        const [id = '', open = '', start, ...drawnFields] = rest;
        return { kind, sendId: id, owner: open, startTime: Number(start), permit: drawn(drawnFields) };
      }
      default:
        return { kind: 'key_reused' };
    }
  }

  async redraw(sendId: string, wish: PermitWish, now: number): Promise<DrawnPermit | null> {
    return drawn((await this.#run(REDRAW, [sendId, ...wishOf(wish), now])) as string[]);
  }

  async settle(sendId: string, { outcome, permit, now }: Settlement): Promise<void> {
    const text = outcome.kind === 'freed' ? '' : encodeOutcome(outcome);
    await this.#run(SETTLE, [sendId, text, permit === 'held' ? 1 : 0, releaseOf(outcome, permit), now]);
  }

  async deposit(appId: string, permits: readonly NewPermit[], limit = Number.MAX_SAFE_INTEGER): Promise<Deposit> {
    if (!permits.every(({ collectTime, expireTime }) => Number.isFinite(collectTime + (expireTime ?? 0)))) {
      throw new StoreError(`${this.#name}: a permit has a time that is no number.`);
    }
    let deposited = 0;
    for (let from = 0; from < permits.length; from += DEPOSIT_STEP) {
      const fields = permits.slice(from, from + DEPOSIT_STEP).flatMap(permitFields);
      const taken = Number(await this.#run(DEPOSIT, [appId, limit, ...fields]));
      if (taken < 0) return 'full';
      deposited += taken;
    }
    return { deposited, duplicates: permits.length - deposited };
  }

  async count(appId: string, toUser: string | undefined, now: number): Promise<readonly PermitTally[]> {
    const tallies = new Tallies();
    if (toUser === undefined) await this.#countApp(appId, now, tallies);
    else await this.#countUser(`${appId}:${toUser}`, now, tallies);
    return tallies.sorted();
  }

  async #countApp(appId: string, now: number, tallies: Tallies): Promise<void> {
    const flat = (await this.#connection.command(['HGETALL', `${this.#prefix}tally:${appId}`])) as string[];
    for (let i = 0; i < flat.length; i += 2) {
      const [kind = '', slot] = (flat[i] as string).split(':');
      const [, permits, messages] = (flat[i + 1] as string).split(',').map(Number);
      const from = Number(slot) * TALLY_SLOT_MS;
      if (Number(slot) >= 0 && from <= now) continue;
      tallies.add(kind as PermitKind, Number(slot) < 0 ? null : from, permits ?? 0, messages ?? 0);
    }
  }

  async #countUser(index: string, now: number, tallies: Tallies): Promise<void> {
    for (let from = 0; from < MOST_OF_USER.counted; from += STEP) {
      const [looked, found] = (await this.#run(COUNT, [index, now, from, STEP])) as [string, string[]];
      for (let i = 0; i < found.length; i += 3) {
        const [kind, expire, messages] = found.slice(i, i + 3) as [PermitKind, string, string];
        tallies.add(kind, expire === '' ? null : Number(expire), 1, Number(messages));
      }
      if (Number(looked) < STEP) return;
    }
  }

  async recover(now: number, owner: string): Promise<number> {
    return await this.#inSteps(async () => Number(await this.#run(RECOVER, [owner, now, STEP])));
  }

  async purge(now: number): Promise<{ keys: number; permits: number }> {
    const keys = await this.#inSteps(async () => Number(await this.#run(PURGE_KEYS, [now, STEP])));
    let permits = 0;
    for (let kept = 0; ; ) {
      const [looked = 0, forgotten = 0] = (await this.#run(PURGE_PERMITS, [now, kept, STEP])) as number[];
      permits += forgotten;
      kept += looked - forgotten;
      if (looked < STEP) break;
    }
    await this.#purgeQuota(oldestQuotaDay(now));
    return { keys, permits };
  }

  /** Forgets days that have certainly ended, wherever in the day they begin. */
  async #purgeQuota(before: number): Promise<void> {
    const quota = `${this.#prefix}quota`;
    const days = (await this.#connection.command(['HKEYS', quota])) as string[];
    const over = days.filter((day) => Number.parseInt(day, 10) < before);
    if (over.length > 0) await this.#connection.command(['HDEL', quota, ...over]);
  }

  async #inSteps(step: () => Promise<number>): Promise<number> {
    for (let sum = 0; ; ) {
      const done = await step();
      sum += done;
      if (done < STEP) return sum;
    }
  }

  #run(script: typeof BEGIN, args: readonly (string | number)[]): Promise<unknown> {
    return this.#connection.run(script, [this.#prefix], args.map(String));
  }
}

/** Sums of permits by kind and by the day on which they expire. */
class Tallies {
  readonly #sums = new Map<string, { kind: PermitKind; expireDay: number | null; permits: number; messages: number }>();

  add(kind: PermitKind, expireTime: number | null, permits: number, messages: number): void {
    if (permits === 0) return;
    const expireDay = expireTime === null ? null : shanghaiDay(expireTime);
    const name = `${kind} ${expireDay}`;
    const sum = this.#sums.get(name) ?? { kind, expireDay, permits: 0, messages: 0 };
    this.#sums.set(name, sum);
    sum.permits += permits;
    sum.messages += messages;
  }

  sorted(): PermitTally[] {
    const order = ({ expireDay }: PermitTally) => expireDay ?? Number.NEGATIVE_INFINITY;
    return [...this.#sums.values()].toSorted((a, b) =>
      a.kind === b.kind ? order(a) - order(b) : a.kind < b.kind ? -1 : 1,
    );
  }
}

function wishOf(wish: PermitWish): [string, string, string] {
  switch (wish.kind) {
    case 'none':
      return ['none', '', ''];
    case 'named':
      return ['named', wish.value, ''];
    case 'form':
      return ['form', wish.toUser, ''];
    case 'consent':
      return ['consent', wish.toUser, wish.templateId];
  }
}

function permitFields({ kind, value, toUser, templateId, collectTime, expireTime, uses }: NewPermit): string[] {
  return [kind, value, toUser, templateId, String(collectTime), String(expireTime ?? ''), String(uses)];
}

function drawn([kind = '', value = '', doubtful]: readonly string[]): DrawnPermit | null {
  if (kind === '') return null;
  const permit = { kind: kind as PermitKind, value };
  return doubtful === '1' ? { ...permit, doubtful: true } : permit;
}
