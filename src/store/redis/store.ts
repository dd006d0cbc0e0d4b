import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { etagAfter } from '../../core/cluster/etag.ts';
import type {
  Member,
  Poll,
  Reading,
  Replaced,
  SealedRecord,
  SharedStore,
  StoreListener,
  VersionedRecord,
} from '../../core/cluster/ports.ts';
import type { Store, StoredApp } from '../../core/tokens/ports.ts';
import { SealedError, type StoreError } from '../errors.ts';
import type { Keyring } from '../keyring.ts';
import { decodeRecord, encodeRecord } from '../record.ts';
import { type Connection, script } from './connection.ts';

// A record is stored as its etag, a line feed, and its text, sealed or not. An etag begins with a number that counts on with each
// content.

const POLL = script(`
local apps, changes, seq, members = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('HSET', members, ARGV[2], ARGV[3])
local reached = tonumber(redis.call('GET', seq) or '0')
local position = tonumber(ARGV[1])
local records = {}
if position == 0 or position > reached then
  records = redis.call('HGETALL', apps)
else
  for _, id in ipairs(redis.call('ZRANGE', changes, '(' .. ARGV[1], '+inf', 'BYSCORE')) do
    local record = redis.call('HGET', apps, id)
    if record then
      records[#records + 1] = id
      records[#records + 1] = record
    end
  end
end
return { tostring(reached), records, redis.call('HVALS', members), redis.call('TIME') }
`);

const READ = script(`
return { redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('TIME') }
`);

const REPLACE = script(`
local apps, changes, seq = KEYS[1], KEYS[2], KEYS[3]
local id, expected, etag, text, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local found = redis.call('HGET', apps, id) or ''
local there = string.match(found, '^[^\\n]*')
if there ~= expected then
  return { '0', found, redis.call('TIME') }
end
redis.call('HSET', apps, id, etag .. '\\n' .. text)
redis.call('ZADD', changes, redis.call('INCR', seq), id)
redis.call('PUBLISH', channel, id)
return { '1', '', redis.call('TIME') }
`);

/** After so many records, of thousands that a poll may bring, others have their turn: they take some 5 ms. */
const SLICE = 50;

/** The apps' records in Redis. */
export class RedisStore implements Store, SharedStore {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #apps: string;
  readonly #changes: string;
  readonly #seq: string;
  readonly #members: string;
  readonly #channel: string;
  readonly #keyring: Keyring;
  readonly #onDamage: (error: StoreError) => void;
  readonly #close: () => void;
  #listener: StoreListener | undefined;

  /**
   * `onDamage` is told of records that are no records: a poll leaves them out, and the next write takes their place. What no held
   * key opens is told of in the answer, and stays. `close` ends the connections.
   */
  constructor(options: {
    connection: Connection;
    name: string;
    prefix: string;
    keyring: Keyring;
    onDamage: (error: StoreError) => void;
    close: () => void;
  }) {
    const { prefix } = options;
    this.#connection = options.connection;
    this.#name = options.name;
    this.#keyring = options.keyring;
    this.#onDamage = options.onDamage;
    this.#close = options.close;
    this.#apps = `${prefix}apps`;
    this.#changes = `${prefix}changes`;
    this.#seq = `${prefix}seq`;
    this.#members = `${prefix}members`;
    this.#channel = `${prefix}changed`;
  }

  /** Where changes are announced. */
  get channel(): string {
    return this.#channel;
  }

  /** Told by the connections. */
  get listener(): StoreListener | undefined {
    return this.#listener;
  }

  async load(): Promise<readonly StoredApp[]> {
    const pairs = (await this.#connection.command(['HGETALL', this.#apps])) as string[];
    const refused: SealedError[] = [];
    const apps = entries(pairs).flatMap(([appId, text]) => {
      const found = this.#open(appId, text);
      if (!(found instanceof SealedError)) return [this.#decode(appId, found, etagOf(text)).app];
      refused.push(found);
      return [];
    });
    if (refused.length > 0) throw this.#keyring.refusal(this.#name, refused);
    return apps;
  }

  async save(app: StoredApp): Promise<void> {
    const text = this.#encode(app);
    for (;;) {
      const there = (await this.#connection.command(['HGET', this.#apps, app.appId])) as string | null;
      const found = there === null ? '' : this.#open(app.appId, there);
      if (found instanceof SealedError) throw found;
      const etag = there === null ? null : etagOf(there);
      const replaced = await this.#replace({ appId: app.appId, text }, etag ?? '', etagAfter(etag, randomUUID()));
      if (replaced.found === undefined) return;
    }
  }

  async poll(self: Member, position: number): Promise<Poll> {
    const keys = [this.#apps, this.#changes, this.#seq, this.#members];
    const args = [String(position), self.replica, JSON.stringify(self)];
    const answer = await this.#connection.run(POLL, keys, args);
    const [reached, pairs, members, time] = answer as [string, string[], string[], ServerTime];
    const { records: changed, sealed } = await this.#sound(entries(pairs));
    const errors = sealed.map(({ error }) => error as SealedError);
    return {
      position: Number(reached),
      changed,
      ...(errors.length > 0 && { sealed: { records: sealed, error: this.#keyring.refusal(this.#name, errors) } }),
      members: members.flatMap(decodeMember),
      time: millisOf(time),
    };
  }

  async read(appIds: readonly string[]): Promise<Reading> {
    const answer = await this.#connection.run(READ, [this.#apps], appIds);
    const [texts, time] = answer as [(string | null)[], ServerTime];
    const found = texts.flatMap((text, i): [string, string][] => (text === null ? [] : [[appIds[i] as string, text]]));
    const { records, sealed } = await this.#sound(found);
    return { records, ...(sealed.length > 0 && { sealed }), time: millisOf(time) };
  }

  async replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced> {
    const { appId } = app;
    const next = { appId, text: this.#encode(app) };
    const { found, time } = await this.#replace(next, expected ?? '', etag);
    if (found === undefined) return { stored: true, time };
    if (found === '') return { stored: false, found: null, time };
    const { records, sealed } = await this.#sound([[appId, found]]);
    if (sealed[0]) return { stored: false, found: null, sealed: sealed[0], time };
    if (records[0]) return { stored: false, found: records[0], time };
    // Nobody can read it, and the next write is to take its place.
    const repaired = await this.#replace(next, etagOf(found), etag);
    return repaired.found === undefined ? { stored: true, time } : { stored: false, found: null, time };
  }

  async remove(replica: string): Promise<void> {
    await this.#connection.command(['HDEL', this.#members, replica]);
  }

  listen(listener: StoreListener): void {
    this.#listener = listener;
  }

  async close(): Promise<void> {
    this.#close();
  }

  /** `found` is what is there instead; empty: nothing; undefined: it is stored. */
  async #replace(
    { appId, text }: { readonly appId: string; readonly text: string },
    expected: string,
    etag: string,
  ): Promise<{ readonly found: string | undefined; readonly time: number }> {
    const keys = [this.#apps, this.#changes, this.#seq];
    const args = [appId, expected, etag, text, this.#channel];
    const [stored, found, time] = (await this.#connection.run(REPLACE, keys, args)) as [string, string, ServerTime];
    return { found: stored === '1' ? undefined : found, time: millisOf(time) };
  }

  #encode(app: StoredApp): string {
    return this.#keyring.seal(app.appId, encodeRecord(app));
  }

  /** The text of a record, or why no held key opens it. */
  #open(appId: string, stored: string): string | SealedError {
    try {
      return this.#keyring.open(appId, stored.slice(stored.indexOf('\n') + 1), this.#name);
    } catch (error) {
      if (error instanceof SealedError) return error;
      throw error;
    }
  }

  #decode(appId: string, text: string, etag: string): VersionedRecord {
    return { app: decodeRecord(appId, text, this.#name), etag };
  }

  /** Those that can be read, and those that cannot be opened; of those that are no records `onDamage` is told. */
  async #sound(stored: readonly (readonly [appId: string, text: string])[]) {
    const records: VersionedRecord[] = [];
    const sealed: SealedRecord[] = [];
    for (const [i, [appId, text]] of stored.entries()) {
      if (i > 0 && i % SLICE === 0) await setImmediate();
      const etag = etagOf(text);
      const found = this.#open(appId, text);
      if (found instanceof SealedError) sealed.push({ appId, etag, error: found });
      else {
        try {
          records.push(this.#decode(appId, found, etag));
        } catch (error) {
          this.#onDamage(error as StoreError);
        }
      }
    }
    return { records, sealed };
  }
}

/** Seconds and microseconds, as TIME answers. */
type ServerTime = [string, string];

function millisOf([seconds, micros]: ServerTime): number {
  return Number(seconds) * 1_000 + Number(micros) / 1_000;
}

function etagOf(text: string): string {
  return text.split('\n', 1)[0] as string;
}

function entries(pairs: readonly string[]): [string, string][] {
  return pairs.flatMap((key, i) => (i % 2 === 0 ? [[key, pairs[i + 1] as string]] : []));
}

/** Whatever a newer version writes there, it is a member. */
function decodeMember(text: string): Member[] {
  try {
    const { replica, beat, address } = JSON.parse(text);
    return [{ replica: String(replica), beat: Number(beat), address: String(address ?? '') }];
  } catch {
    return [];
  }
}
