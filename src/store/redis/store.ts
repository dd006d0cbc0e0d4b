import { randomUUID } from 'node:crypto';
import type {
  Member,
  Poll,
  Reading,
  Replaced,
  SharedStore,
  StoreListener,
  VersionedRecord,
} from '../../core/cluster/ports.ts';
import type { Store, StoredApp } from '../../core/tokens/ports.ts';
import type { StoreError } from '../errors.ts';
import { decodeRecord, encodeRecord } from '../record.ts';
import { type Connection, script } from './connection.ts';

// A record is stored as its etag, a line feed, and its text. An etag begins with a number that counts on with each content.

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
if expected == '*' then
  etag = ((tonumber(string.match(there, '^%d+')) or 0) + 1) .. '.' .. etag
elseif there ~= expected then
  return { '0', found, redis.call('TIME') }
end
redis.call('HSET', apps, id, etag .. '\\n' .. text)
redis.call('ZADD', changes, redis.call('INCR', seq), id)
redis.call('PUBLISH', channel, id)
return { '1', '', redis.call('TIME') }
`);

/** The apps' records in Redis. */
export class RedisStore implements Store, SharedStore {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #apps: string;
  readonly #changes: string;
  readonly #seq: string;
  readonly #members: string;
  readonly #channel: string;
  readonly #onDamage: (error: StoreError) => void;
  readonly #close: () => void;
  #listener: StoreListener | undefined;

  /** `onDamage` is told of records that are no records: a poll leaves them out. `close` ends the connections. */
  constructor(options: {
    connection: Connection;
    name: string;
    prefix: string;
    onDamage: (error: StoreError) => void;
    close: () => void;
  }) {
    const { prefix } = options;
    this.#connection = options.connection;
    this.#name = options.name;
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
    return entries(pairs).map(([appId, text]) => this.#decode(appId, text).app);
  }

  async save(app: StoredApp): Promise<void> {
    await this.#replace(app, '*', randomUUID());
  }

  async poll(self: Member, position: number): Promise<Poll> {
    const keys = [this.#apps, this.#changes, this.#seq, this.#members];
    const args = [String(position), self.replica, JSON.stringify(self)];
    const answer = await this.#connection.run(POLL, keys, args);
    const [reached, pairs, members, time] = answer as [string, string[], string[], ServerTime];
    const changed = entries(pairs).flatMap(([appId, text]) => this.#sound(appId, text));
    return {
      position: Number(reached),
      changed,
      members: members.flatMap(decodeMember),
      time: millisOf(time),
    };
  }

  async read(appIds: readonly string[]): Promise<Reading> {
    const answer = await this.#connection.run(READ, [this.#apps], appIds);
    const [texts, time] = answer as [(string | null)[], ServerTime];
    const records = texts.flatMap((text, i) => (text === null ? [] : this.#sound(appIds[i] as string, text)));
    return { records, time: millisOf(time) };
  }

  async replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced> {
    const { found, time } = await this.#replace(app, expected ?? '', etag);
    if (found === undefined) return { stored: true, time };
    const [sound] = found === '' ? [] : this.#sound(app.appId, found);
    if (sound || found === '') return { stored: false, found: sound ?? null, time };
    // Nobody can read it, and the next write is to take its place.
    const repaired = await this.#replace(app, etagOf(found), etag);
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
    app: StoredApp,
    expected: string,
    etag: string,
  ): Promise<{ readonly found: string | undefined; readonly time: number }> {
    const keys = [this.#apps, this.#changes, this.#seq];
    const args = [app.appId, expected, etag, encodeRecord(app), this.#channel];
    const [stored, found, time] = (await this.#connection.run(REPLACE, keys, args)) as [string, string, ServerTime];
    return { found: stored === '1' ? undefined : found, time: millisOf(time) };
  }

  #decode(appId: string, text: string): VersionedRecord {
    return { app: decodeRecord(appId, text.slice(text.indexOf('\n') + 1), this.#name), etag: etagOf(text) };
  }

  #sound(appId: string, text: string): VersionedRecord[] {
    try {
      return [this.#decode(appId, text)];
    } catch (error) {
      this.#onDamage(error as StoreError);
      return [];
    }
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
