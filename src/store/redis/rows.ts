import type { PermitKind } from '../../core/messages/ports.ts';
import { decodeOutcome, UNKNOWN } from '../outcome.ts';
import { joinPermits, type PermitRow, type Row, type Rows, type SendRow, type User } from '../rows.ts';
import type { Connection, Script } from './connection.ts';
import { PUT_PERMIT, RESTORE_QUOTAS, RESTORE_SENDS } from './rows-scripts.ts';

/** How much one script writes, which keeps everyone else waiting, and how many keys are looked at in one go. */
const STEP = 200;

/** The longest `cluster.poll` that may be configured. */
const LONGEST_POLL_MS = 60_000;

type Hash = Readonly<Record<string, string>>;

/** The ledger's rows in Redis. */
export class RedisRows implements Rows {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #prefix: string;

  /** `name` is what errors call the store. */
  constructor({ connection, name, prefix }: { connection: Connection; name: string; prefix: string }) {
    this.#connection = connection;
    this.#name = name;
    this.#prefix = prefix;
  }

  async *dump(): AsyncGenerator<readonly Row[]> {
    // Of those that nobody has a key to only their permits are left.
    const doubted = new Set<string>();
    for await (const sends of this.#hashes('send:'))
      for (const { key, permit } of sends) if (key === '' && permit) doubted.add(permit);
    for await (const permits of this.#hashes('permit:'))
      yield permits.map((permit) => toPermit(permit, doubted.has(permit['name'] ?? '')));
    for await (const sends of this.#hashes('send:'))
      yield sends.filter(({ key }) => key !== '').map((send) => this.#toSend(send));
    const quotas = pairs((await this.#connection.command(['HGETALL', `${this.#prefix}quota`])) as string[]);
    yield quotas.map(([field, sends]) => {
      const [day = '', appId = ''] = field.split(':');
      return { row: 'quota', appId, day: Number(day), sends: Number(sends) };
    });
  }

  async restore(rows: readonly Row[]): Promise<number> {
    const sends = rows.filter((row) => row.row === 'send').map(sendFields);
    const quotas = rows.filter((row) => row.row === 'quota').map(({ appId, day, sends }) => [`${day}:${appId}`, sends]);
    const permits = await this.#restorePermits(rows.filter((row) => row.row === 'permit'));
    return permits + (await this.#run(RESTORE_SENDS, sends)) + (await this.#run(RESTORE_QUOTAS, quotas));
  }

  async #restorePermits(rows: readonly PermitRow[]): Promise<number> {
    let changed = 0;
    for (let from = 0; from < rows.length; from += STEP) {
      const done = await Promise.all(rows.slice(from, from + STEP).map((row) => this.#restorePermit(row)));
      changed += done.filter(Boolean).length;
    }
    return changed;
  }

  /** Joins a permit to what is there, and again when that was changed meanwhile. Resolves with whether it changed anything. */
  async #restorePermit(row: PermitRow): Promise<boolean> {
    const name = `${this.#prefix}permit:${row.appId}:${row.kind}:${row.value}`;
    for (;;) {
      const found: Hash = Object.fromEntries(pairs((await this.#connection.command(['HGETALL', name])) as string[]));
      const { uses, doubtful, user } = found;
      const joined = joinPermits(uses === undefined ? undefined : toPermit(found, false), row);
      if (!joined) return false;
      const seen = uses === undefined ? '' : `${uses}:${doubtful}:${user}`;
      if ((await this.#run(PUT_PERMIT, [[...permitFields(joined), seen]])) === 1) return true;
    }
  }

  async users(): Promise<ReadonlyMap<string, User>> {
    const members = pairs((await this.#connection.command(['HGETALL', `${this.#prefix}members`])) as string[]);
    return new Map(members.map(([name, sign]) => [name, { sign, pauseMs: pauseOf(sign) }]));
  }

  async #run(script: Script, rows: readonly (readonly (string | number)[])[]): Promise<number> {
    let changed = 0;
    for (let from = 0; from < rows.length; from += STEP) {
      const args = rows
        .slice(from, from + STEP)
        .flat()
        .map(String);
      changed += Number(await this.#connection.run(script, [this.#prefix], args));
    }
    return changed;
  }

  /** The hashes whose keys begin with this after the prefix, each with its key as `name`. Some may come twice. */
  async *#hashes(kind: string): AsyncGenerator<readonly Hash[]> {
    let cursor = '0';
    do {
      const scan = ['SCAN', cursor, 'MATCH', `${this.#prefix}${kind}*`, 'COUNT', String(STEP), 'TYPE', 'hash'];
      const [next, names] = (await this.#connection.command(scan)) as [string, string[]];
      const found = await Promise.all(names.map((name) => this.#connection.command(['HGETALL', name])));
      yield found
        .map((flat, i) => ({ ...Object.fromEntries(pairs(flat as string[])), name: names[i] ?? '' }))
        .filter((hash) => Object.keys(hash).length > 1);
      cursor = next;
    } while (cursor !== '0');
  }

  #toSend(send: Hash): SendRow {
    const { id = '', app = '', key = '', outcome = '' } = send;
    const text = outcome === '' ? UNKNOWN : outcome;
    decodeOutcome(text, this.#name); // what is damaged is not to be copied
    return {
      row: 'send',
      sendId: id,
      appId: app,
      key: key.slice(`${this.#prefix}key:${app}:`.length),
      keyExpireTime: Number(send['key_expire']),
      digest: send['digest'] ?? '',
      startTime: Number(send['start']),
      quotaDay: Number(send['day']),
      permit: this.#permitOf(app, send['permit'] ?? ''),
      outcome: text,
    };
  }

  #permitOf(app: string, name: string): SendRow['permit'] {
    if (name === '') return null;
    const rest = name.slice(`${this.#prefix}permit:${app}:`.length);
    const end = rest.indexOf(':');
    return { kind: rest.slice(0, end) as PermitKind, value: rest.slice(end + 1) };
  }
}

/** Of a member that does not tell, the longest that there is. */
function pauseOf(member: string): number {
  return Number(/"pollMs":(\d+)/.exec(member)?.[1] ?? LONGEST_POLL_MS);
}

function toPermit(permit: Hash, isDoubted: boolean): PermitRow {
  const { app = '', kind, value = '', user = '', template = '', collect, expire = '', uses, doubtful } = permit;
  return {
    row: 'permit',
    appId: app,
    kind: kind as PermitKind,
    value,
    toUser: user,
    templateId: template,
    collectTime: Number(collect),
    expireTime: expire === '' ? null : Number(expire),
    uses: Number(uses),
    doubtful: doubtful === '1' || isDoubted,
  };
}

function permitFields(row: PermitRow): (string | number)[] {
  const { appId, kind, value, toUser, templateId, collectTime, expireTime, uses, doubtful } = row;
  return [appId, kind, value, toUser, templateId, collectTime, expireTime ?? '', uses, Number(doubtful)];
}

function sendFields(row: SendRow): (string | number)[] {
  const { sendId, appId, key, keyExpireTime, digest, startTime, quotaDay, permit, outcome } = row;
  return [
    sendId,
    appId,
    key,
    keyExpireTime,
    digest,
    startTime,
    quotaDay,
    permit?.kind ?? '',
    permit?.value ?? '',
    outcome,
  ];
}

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((key, i) => (i % 2 === 0 ? [[key, flat[i + 1] ?? '']] : []));
}
