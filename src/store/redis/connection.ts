import { createHash } from 'node:crypto';
import { ClientOfflineError, createClient } from 'redis';
import type { Clock, Random, Timer } from '../../core/kernel/clock.ts';
import { StoreError } from '../errors.ts';
import { explainRedis, isReadOnly } from './errors.ts';

/** How long Redis may take to answer a command. A connection on which one is not answered is given up. */
const COMMAND_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** How long either may take when the store is opened: a machine that starts many things at once is slow. */
export const OPEN_TIMEOUT_MS = 10_000;
/** How long a lost connection may take to be there again, its handshake included, before another try takes its place. */
const RECONNECT_TIMEOUT_MS = 5_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

type Client = ReturnType<typeof newClient>;

/** What a connection needs. */
export interface ConnectionOptions {
  readonly url: string;
  /** What errors call the server. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Called each time the connection is there, with its client: to subscribe, for instance. If it fails the first time, so does `open`. */
  readonly onReady?: (client: Client) => Promise<unknown>;
  /** Called when the connection was lost and is there again. */
  readonly onReconnected?: () => void;
}

/** A Lua script and its name on the server. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** A script of this text. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/**
 * One connection to Redis, which is made again for ever, also when the server cannot be written any more. While it is not there
 * commands are refused at once; one that is not answered in time is rejected, and may have taken effect.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  #client: Client;
  #readies = 0;
  #prepared: Promise<unknown> | undefined;
  /** Tries since the last answer. */
  #failures = 0;
  /** While it is not there: what makes the next try. */
  #next: Timer | undefined;
  #isClosed = false;
  /** Why it is not there; undefined: it is, or was lost only now. */
  #trouble: unknown;

  private constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#client = this.#make();
  }

  /** Connects. Rejects with a StoreError when that fails the first time. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    try {
      const ready = connection.#client.connect().then(() => connection.#prepared);
      await connection.#within(ready, OPEN_TIMEOUT_MS);
    } catch (error) {
      connection.close();
      throw explainRedis(error, options.name);
    }
    return connection;
  }

  /** The answer to a command. Rejects with a StoreError. */
  command(args: readonly string[], timeoutMs = COMMAND_TIMEOUT_MS): Promise<unknown> {
    return this.#ask((client) => client.sendCommand([...args]), timeoutMs);
  }

  /** Makes sure that the connection lives; one that does not answer is replaced. */
  async ping(): Promise<void> {
    await this.#ask((client) => client.ping(), COMMAND_TIMEOUT_MS);
  }

  async #ask(question: (client: Client) => Promise<unknown>, timeoutMs: number): Promise<unknown> {
    const client = this.#client;
    try {
      const answer = await this.#within(question(client), timeoutMs);
      this.#failures = 0;
      return answer;
    } catch (error) {
      // A primary that was demoted may keep the connection; its name may lead to another one by now.
      if (error === TIMED_OUT || isReadOnly(error)) this.#replace(client);
      if (isScriptMissing(error)) throw error;
      throw explainRedis((error instanceof ClientOfflineError && this.#trouble) || error, this.#options.name);
    }
  }

  /** The answer of a script; `keys` and `args` are its KEYS and ARGV. Rejects with a StoreError. */
  async run({ text, sha }: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.command(['EVALSHA', sha, ...rest]);
    } catch (error) {
      if (!isScriptMissing(error)) throw error;
      return await this.command(['EVAL', text, ...rest]);
    }
  }

  /** Ends it. Commands that are under way are rejected. */
  close(): void {
    this.#isClosed = true;
    this.#next?.cancel();
    discard(this.#client);
  }

  #make(): Client {
    const { url, onReady, onReconnected } = this.#options;
    const client = newClient(url, (_, cause) => {
      // Whoever opens it learns why it cannot be.
      if (this.#readies === 0 || this.#isClosed) return cause;
      return this.#pause();
    });
    // Each failure reaches whoever waits for an answer, or shows in the next command.
    client.on('error', (error) => {
      this.#trouble = error;
    });
    client.on('reconnecting', () => this.#limit(client));
    client.on('connect', () => {
      if (this.#isClosed || client !== this.#client) discard(client); // it was given up while it was being made
    });
    client.on('ready', () => {
      this.#next?.cancel();
      this.#trouble = undefined;
      this.#prepared = onReady?.(client);
      this.#prepared?.catch(() => undefined);
      if (this.#readies++ > 0) onReconnected?.();
    });
    return client;
  }

  /** A connection that does not answer may be dead without a word: another takes its place. */
  #replace(client: Client): void {
    if (this.#isClosed || client !== this.#client) return;
    const another = this.#make();
    this.#client = another;
    discard(client);
    this.#after(this.#pause(), () => {
      this.#limit(another);
      another.connect().catch(() => undefined);
    });
  }

  /** The client's own timeout ends with the TCP connection: one whose handshake is not answered would wait for ever. */
  #limit(client: Client): void {
    this.#after(RECONNECT_TIMEOUT_MS, () => this.#replace(client));
  }

  #after(ms: number, fn: () => void): void {
    this.#next?.cancel();
    this.#next = this.#options.clock.schedule(ms, fn);
  }

  #pause(): number {
    const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures++, 10));
    return Math.ceil(this.#options.random() * ceiling);
  }

  async #within<T>(answer: Promise<T>, ms: number): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = this.#options.clock.schedule(ms, () => reject(TIMED_OUT));
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, promise]);
    } finally {
      timer.cancel();
    }
  }
}

const TIMED_OUT = new StoreError('no answer in time');

function newClient(url: string, pause: (retries: number, cause: Error) => number | Error) {
  return createClient({
    url,
    name: 'lingpai',
    RESP: 2,
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
    socket: { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: pause, keepAlive: true },
  });
}

function discard(client: Client): void {
  try {
    client.destroy();
  } catch {
    // It was not open.
  }
}

function isScriptMissing(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
