import type { StoredTicket, TicketKey, TicketStore } from '../../core/tickets/ports.ts';
import { SealedError, type StoreError } from '../errors.ts';
import type { Keyring } from '../keyring.ts';
import { decodeTicket, encodeTicket, ticketTypeOf } from '../ticket-record.ts';
import { type Connection, script } from './connection.ts';

const RELEASE = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`);

/** The tickets in Redis: one hash, and a key that expires for each claim. */
export class RedisTickets implements TicketStore {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #prefix: string;
  readonly #keyring: Keyring;
  readonly #onDamage: (error: StoreError) => void;

  /** `onDamage` is told of records that are no records: they are left out, and the next write takes their place. */
  constructor(options: {
    connection: Connection;
    name: string;
    prefix: string;
    keyring: Keyring;
    onDamage: (error: StoreError) => void;
  }) {
    this.#connection = options.connection;
    this.#name = options.name;
    this.#prefix = options.prefix;
    this.#keyring = options.keyring;
    this.#onDamage = options.onDamage;
  }

  async load(): Promise<readonly StoredTicket[]> {
    const pairs = (await this.#connection.command(['HGETALL', ticketsKey(this.#prefix)])) as string[];
    const refused: SealedError[] = [];
    const tickets: StoredTicket[] = [];
    for (let i = 0; i < pairs.length; i += 2) {
      const key = ticketOf(pairs[i] as string);
      if (!key) continue;
      try {
        const ticket = this.#decode(key, pairs[i + 1] as string);
        if (ticket) tickets.push(ticket);
      } catch (error) {
        if (!(error instanceof SealedError)) throw error;
        refused.push(error);
      }
    }
    if (refused.length > 0) throw this.#keyring.refusal(this.#name, refused);
    return tickets;
  }

  async read(key: TicketKey): Promise<StoredTicket | undefined> {
    const stored = await this.#connection.command(['HGET', ticketsKey(this.#prefix), fieldOf(key)]);
    return stored === null ? undefined : this.#decode(key, stored as string);
  }

  async save(record: StoredTicket): Promise<void> {
    const text = encodeTicket(record, this.#keyring);
    await this.#connection.command(['HSET', ticketsKey(this.#prefix), fieldOf(record), text]);
  }

  async claim(key: TicketKey, owner: string, ms: number): Promise<boolean> {
    const command = ['SET', this.#claimKey(key), owner, 'NX', 'PX', String(Math.ceil(ms))];
    return (await this.#connection.command(command)) !== null;
  }

  async release(key: TicketKey, owner: string): Promise<void> {
    await this.#connection.run(RELEASE, [this.#claimKey(key)], [owner]);
  }

  #claimKey(key: TicketKey): string {
    return `${this.#prefix}ticket-claim:${fieldOf(key)}`;
  }

  /** Undefined: it is no record. Throws where no held key opens it. */
  #decode(key: TicketKey, stored: string): StoredTicket | undefined {
    try {
      return decodeTicket(key, stored, this.#keyring, this.#name);
    } catch (error) {
      if (error instanceof SealedError) throw error;
      this.#onDamage(error as StoreError);
      return undefined;
    }
  }
}

/** The hash of all tickets. */
export function ticketsKey(prefix: string): string {
  return `${prefix}tickets`;
}

/** No app id has a slash. */
function fieldOf({ appId, type }: TicketKey): string {
  return `${appId}/${type}`;
}

/** The ticket of a field; undefined: a newer version may have put it there. */
export function ticketOf(field: string): TicketKey | undefined {
  const [appId = '', name = ''] = field.split('/');
  const type = ticketTypeOf(name);
  return type && { appId, type };
}
