import { channel } from 'node:diagnostics_channel';
import { create } from '@bufbuild/protobuf';
import { Backoff } from './backoff.ts';
import { Connection, msOf } from './connection.ts';
import { ClosedError, RpcError, StartTimeoutError } from './errors.ts';
import type { AppStats, ClientEvent, Stats } from './events.ts';
import {
  ForceRefreshRequestSchema,
  type ForceRefreshResponse,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  type GetResponse,
  GetResponseSchema,
  WatchTokenRequestSchema,
  type WatchTokenResponse,
  WatchTokenResponseSchema,
} from './gen/lingpai/client/v1/client_pb.ts';
import { type Options, type Settings, settingsOf } from './options.ts';
import { Source } from './source.ts';
import type { Token } from './token.ts';

/** What `onEvent` is told is published here too: `diagnostics_channel.subscribe('lingpai.client', …)`. */
const diagnostics = channel('lingpai.client');

/**
 * Makes a client, and waits until a token of every app is held. `target`: the broker's gRPC port, `HOST:PORT`, `http://HOST:PORT` or
 * `https://HOST:PORT`. Rejects with ConfigurationError; with RpcError at once where the broker does not know an app or refuses the key; with
 * StartTimeoutError where a token is still missing after `startTimeoutMs`. With `startOptional` it waits for nothing.
 */
export async function connect(target: string, options: Options): Promise<Client> {
  const client = new Client(settingsOf(target, options));
  try {
    await client.started();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** One stream to the broker, and the tokens that it brought. A process needs one. */
export class Client implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #sources: ReadonlyMap<string, Source>;
  /** The apps that the broker does not know. */
  readonly #unknown = new Set<string>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  readonly #probing = new Set<Promise<void>>();
  #state: Stats['state'] = 'CONNECTING';
  #attempts = 0;
  #reconnects = 0;
  #goaways = 0;
  #reports = 0;
  /** The connection of the stream. */
  #connection: Connection | undefined;
  #lastError: RpcError | undefined;
  /** Ends the start: an error that waiting does not mend. */
  #failStart: ((error: RpcError) => void) | undefined;
  #wake = () => {};

  /** @internal Use `connect`. */
  constructor(settings: Settings) {
    this.#settings = settings;
    const owner = {
      signal: this.#closing.signal,
      retryCapMs: settings.timing.retryCapMs,
      forceRefresh: (app: string, rejected: Token) => this.#forceRefresh(app, rejected),
      tell: (event: ClientEvent) => this.#tell(event),
    };
    this.#sources = new Map(settings.apps.map((app) => [app, new Source(app, owner)]));
    this.#running = this.#run();
  }

  /** An app's source. Throws a RangeError for an app that the client was not made with. */
  app(app: string): Source {
    const source = this.#sources.get(app);
    if (!source) throw new RangeError(`the client was made without ${app}: name it in apps`);
    return source;
  }

  stats(): Stats {
    const apps: Record<string, AppStats> = {};
    for (const [app, source] of this.#sources) apps[app] = source.stats;
    const [attempts, reconnects, goaways, reports] = [this.#attempts, this.#reconnects, this.#goaways, this.#reports];
    return { state: this.#state, attempts, reconnects, goaways, reports, apps };
  }

  /** Ends the stream, pauses, and calls under way; reads throw ClosedError from now on. May be called any number of times. */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#state = 'CLOSED';
      this.#closing.abort();
      this.#wake();
      for (const source of this.#sources.values()) source.close();
      this.#tell({ type: 'closed' });
    }
    await Promise.all([this.#running, ...this.#probing]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal The start. */
  async started(): Promise<void> {
    const { startOptional, startTimeoutMs } = this.#settings;
    if (startOptional) return;
    let timer: NodeJS.Timeout | undefined;
    const missing = () => [...this.#sources.values()].filter(({ known }) => known === undefined);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#failStart = reject;
        timer = setTimeout(() => {
          const apps = missing().map(({ app }) => app);
          reject(new StartTimeoutError(apps, startTimeoutMs, this.#lastError));
        }, startTimeoutMs);
        const look = () => {
          const [first] = missing();
          if (this.#closing.signal.aborted) reject(new ClosedError());
          else if (first) void first.changed.then(look);
          else resolve();
        };
        look();
      });
    } finally {
      clearTimeout(timer);
      this.#failStart = undefined;
    }
  }

  async #run(): Promise<void> {
    const backoff = new Backoff(this.#settings.timing);
    while (!this.#closing.signal.aborted) {
      const apps = [...this.#sources.keys()].filter((app) => !this.#unknown.has(app));
      if (apps.length === 0) {
        await this.#pause(undefined); // until one is known again
        continue;
      }
      const pauseMs = await this.#attempt(apps, backoff);
      if (pauseMs > 0) await this.#pause(pauseMs);
    }
  }

  /** One stream, from its connection to its end. Resolves with the pause before the next, in milliseconds. */
  async #attempt(apps: readonly string[], backoff: Backoff): Promise<number> {
    const { timing } = this.#settings;
    this.#attempts++;
    let first: number | undefined;
    let goawayMs: number | undefined;
    let connection: Connection | undefined;
    const silence = setTimeout(() => {
      connection?.close(new RpcError('UNAVAILABLE', `nothing came for ${timing.silenceMs} ms`));
    }, timing.silenceMs).unref();
    try {
      connection = await Connection.open(this.#settings, this.#closing.signal, true);
      this.#connection = connection;
      const knownGenerations: Record<string, bigint> = {};
      for (const app of apps) {
        const known = this.#sources.get(app)?.known;
        if (known !== undefined) knownGenerations[app] = known;
      }
      const request = create(WatchTokenRequestSchema, { appIds: [...apps], knownGenerations });
      await connection.call('WatchToken', [WatchTokenRequestSchema, request], WatchTokenResponseSchema, (message) => {
        silence.refresh();
        if (first === undefined) {
          first = performance.now();
          if (this.#state === 'STALE') {
            this.#reconnects++;
            this.#tell({ type: 'reconnect' });
          }
          if (this.#state !== 'CLOSED') this.#state = 'LIVE';
        }
        if (goawayMs === undefined) goawayMs = this.#take(message, connection);
      });
      throw new RpcError('UNAVAILABLE', 'the stream ended');
    } catch (thrown) {
      if (this.#closing.signal.aborted) return 0;
      if (first !== undefined) this.#state = 'STALE';
      if (goawayMs !== undefined) return goawayMs;
      const error = thrown instanceof RpcError ? thrown : new RpcError('UNKNOWN', String(thrown));
      if (error.reason === reopenNow) return 0;
      return this.#failed(error, backoff, first === undefined ? undefined : performance.now() - first);
    } finally {
      clearTimeout(silence);
      connection?.close(new ClosedError());
      this.#connection = undefined;
    }
  }

  /** Takes one event. Gives the pause that a goaway asks for, in milliseconds. */
  #take({ event, serverTime }: WatchTokenResponse, connection: Connection | undefined): number | undefined {
    if (event.case === 'state') this.#sources.get(event.value.appId)?.take(event.value, serverTime);
    if (event.case === 'removed') this.#sources.get(event.value.appId)?.drop('REMOVED');
    if (event.case !== 'goaway') return undefined;
    const { backoffFloorMs, goawayCapMs } = this.#settings.timing;
    const afterMs = Math.max(backoffFloorMs, Math.min(msOf(event.value.reconnectAfter), goawayCapMs));
    this.#goaways++;
    this.#tell({ type: 'goaway', afterMs });
    connection?.close(new RpcError('UNAVAILABLE', 'goaway'));
    return afterMs;
  }

  /** What follows from a stream's error: the pause before the next, in milliseconds. */
  #failed(error: RpcError, backoff: Backoff, lived: number | undefined): number {
    this.#lastError = error;
    const { code, reason, message, app } = error;
    if (this.#failStart && ['NOT_FOUND', 'INVALID_ARGUMENT', 'UNAUTHENTICATED'].includes(code)) this.#failStart(error);
    const isUnknownApp = code === 'NOT_FOUND' && this.#sources.has(app) && !this.#unknown.has(app);
    const pauseMs = isUnknownApp ? 0 : backoff.after(error, lived);
    this.#tell({ type: 'error', during: 'watch', code, reason, message, retryInMs: Math.round(pauseMs) });
    if (isUnknownApp) {
      this.#unknown.add(app);
      this.#sources.get(app)?.drop('NOT_FOUND');
      const probing = this.#probe(app).finally(() => this.#probing.delete(probing));
      this.#probing.add(probing);
    }
    return pauseMs;
  }

  /** Asks for an app that the broker does not know, until it does. */
  async #probe(app: string): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(this.#settings.timing.appRetryMs, signal);
      if (signal.aborted) return;
      try {
        const { state, serverTime } = await this.#get(app);
        if (state) this.#sources.get(app)?.take(state, serverTime);
        this.#unknown.delete(app);
        this.#connection?.close(new RpcError('UNAVAILABLE', 'another app is known', { reason: reopenNow }));
        this.#wake();
        return;
      } catch (error) {
        if (error instanceof RpcError && error.code !== 'NOT_FOUND')
          this.#tell({
            ...{ type: 'error', during: 'get', code: error.code, reason: error.reason, message: error.message },
            retryInMs: this.#settings.timing.appRetryMs,
          });
      }
    }
  }

  async #get(app: string): Promise<GetResponse> {
    const request = create(GetRequestSchema, { appId: app });
    return this.#unary(true, (connection, take) =>
      connection.call('Get', [GetRequestSchema, request], GetResponseSchema, take),
    );
  }

  async #forceRefresh(app: string, rejected: Token): Promise<ForceRefreshResponse> {
    this.#reports++;
    const request = create(ForceRefreshRequestSchema, {
      appId: app,
      rejected: { case: 'rejectedToken', value: rejected.value },
    });
    return this.#unary(false, (connection, take) =>
      connection.call('ForceRefresh', [ForceRefreshRequestSchema, request], ForceRefreshResponseSchema, take),
    );
  }

  /** A call on a connection of its own. Rejects with an RpcError, or a ClosedError. */
  async #unary<T>(
    isBackground: boolean,
    call: (connection: Connection, take: (message: T) => void) => Promise<void>,
  ): Promise<T> {
    const { callMs } = this.#settings.timing;
    const connection = await Connection.open(this.#settings, this.#closing.signal, isBackground);
    const late = setTimeout(
      () => connection.close(new RpcError('DEADLINE_EXCEEDED', `no answer within ${callMs} ms`)),
      callMs,
    );
    if (isBackground) late.unref();
    try {
      const answers: T[] = [];
      await call(connection, (message) => answers.push(message));
      const [answer] = answers;
      if (answer === undefined) throw new RpcError('INTERNAL', 'the broker answered without a message');
      return answer;
    } finally {
      clearTimeout(late);
      connection.close(new ClosedError());
    }
  }

  /** Waits so long, or until `#wake`; undefined: until `#wake`. */
  #pause(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#closing.signal.aborted) this.#wake();
    });
  }

  #tell(event: ClientEvent): void {
    if (diagnostics.hasSubscribers) diagnostics.publish(event);
    try {
      this.#settings.onEvent(event);
    } catch {} // the user's own trouble
  }
}

/** Why a stream was ended that is to be opened anew at once. */
const reopenNow = 'REOPEN';

/** Waits so long, or until the signal aborts. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms).unref();
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
