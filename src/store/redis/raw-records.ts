import { randomUUID } from 'node:crypto';
import { etagAfter } from '../../core/cluster/etag.ts';
import { PAGE, type RawRecord, type RawRecords } from '../raw-records.ts';
import { type Connection, script } from './connection.ts';
import { ticketsKey } from './tickets.ts';

// The same content under another etag: a replica that cannot open it sees so at once, and does not write over it.
// Replicas find it at their next poll; no hint is given, or each of thousands would be read by itself.
const SWAP = script(`
local apps, changes, seq = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', apps, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', apps, ARGV[1], ARGV[3])
redis.call('ZADD', changes, redis.call('INCR', seq), ARGV[1])
return 1
`);

const REMOVE = script(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`);

const SWAP_TICKET = script(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`);

const REMOVE_TICKET = script(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
`);

/** The records in Redis. What its snapshots and its log still hold of older ones is Redis' affair. */
export class RedisRawRecords implements RawRecords {
  readonly #connection: Connection;
  readonly #apps: string;
  readonly #tickets: string;
  readonly #changes: string;
  readonly #seq: string;

  constructor({ connection, prefix }: { connection: Connection; prefix: string }) {
    this.#connection = connection;
    this.#apps = `${prefix}apps`;
    this.#tickets = ticketsKey(prefix);
    this.#changes = `${prefix}changes`;
    this.#seq = `${prefix}seq`;
  }

  async *pages(): AsyncGenerator<readonly RawRecord[]> {
    yield* this.#pages(this.#apps, rawOf);
    yield* this.#pages(this.#tickets, rawTicketOf);
  }

  async *#pages(hash: string, toRaw: (field: string, stored: string) => RawRecord) {
    const fields = (await this.#connection.command(['HKEYS', hash])) as string[];
    for (let from = 0; from < fields.length; from += PAGE) {
      const some = fields.slice(from, from + PAGE);
      const found = (await this.#connection.command(['HMGET', hash, ...some])) as (string | null)[];
      yield found.flatMap((stored, i) => (stored === null ? [] : [toRaw(some[i] as string, stored)]));
    }
  }

  async swap({ appId, ticket, stored }: RawRecord, text: string): Promise<boolean> {
    if (ticket !== undefined) {
      const fields = [`${appId}/${ticket}`, stored, text];
      return (await this.#connection.run(SWAP_TICKET, [this.#tickets], fields)) === 1;
    }
    const etag = etagAfter(stored.split('\n', 1)[0] as string, `resealed.${randomUUID()}`);
    const keys = [this.#apps, this.#changes, this.#seq];
    return (await this.#connection.run(SWAP, keys, [appId, stored, `${etag}\n${text}`])) === 1;
  }

  async remove({ appId, ticket, stored }: RawRecord): Promise<boolean> {
    if (ticket !== undefined)
      return (await this.#connection.run(REMOVE_TICKET, [this.#tickets], [`${appId}/${ticket}`, stored])) === 1;
    return (await this.#connection.run(REMOVE, [this.#apps, this.#changes], [appId, stored])) === 1;
  }
}

function rawOf(appId: string, stored: string): RawRecord {
  return { appId, stored, text: stored.slice(stored.indexOf('\n') + 1) };
}

function rawTicketOf(field: string, stored: string): RawRecord {
  const [appId = '', ticket = ''] = field.split('/');
  return { appId, ticket, stored, text: stored };
}
