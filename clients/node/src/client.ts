import { isSlow } from './backoff.ts';
import { Connection, msOf } from './connection.ts';
import {
  ClosedError,
  ConfigurationError,
  type LingpaiError,
  type NoTokenReason,
  type RpcError,
  StartTimeoutError,
} from './errors.ts';
import {
  ForceRefreshOutcome,
  ForceRefreshRequestSchema,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  type WatchTokenResponse,
} from './gen/lingpai/client/v1/client_pb.js';
import { type LingpaiEvent, log } from './observe.ts';
import { checkApps, type Endpoint, endpointOf, type Options } from './options.ts';
import { type Report, Source } from './source.ts';
import type { Token } from './token.ts';
import { Watch, type WatchRequest } from './watch.ts';

const GET = ['Get', GetRequestSchema, GetResponseSchema] as const;
const FORCE_REFRESH = ['ForceRefresh', ForceRefreshRequestSchema, ForceRefreshResponseSchema] as const;

/** No stream has brought a message yet; one is open; it was lost, and the tokens held are served; closed. */
export type StreamState = 'CONNECTING' | 'LIVE' | 'STALE' | 'CLOSED';

/** What `Client.stats` tells (R17). */
export interface Stats {
  readonly state: StreamState;
  /** Streams that were tried. */
  readonly attempts: number;
  /** Streams that brought a message after one was lost. */
  readonly reconnects: number;
  readonly goaways: number;
  /** ForceRefresh calls. */
  readonly reports: number;
  readonly apps: Readonly<
    Record<
      string,
      {
        readonly state: 'HELD' | 'NONE' | 'WAITING';
        readonly generation: bigint;
        readonly tokenId: string;
        readonly reason: NoTokenReason | '';
        readonly words: string;
      }
    >
  >;
}

/** What a client counts. */
type Counts = { reconnects: number; goaways: number; reports: number };

/**
 * Connects to a broker, and resolves once a token of every app is here (R4); with `startOptional` at once.
 * Rejects with ConfigurationError, StartTimeoutError or RpcError, and leaves nothing behind then.
 *
 * @param target HOST:PORT, http://HOST:PORT or https://HOST:PORT of the broker's gRPC port (7600). Without a scheme TLS is meant where
 * `tls` has a CA or a certificate.
 */
export async function connect(target: string, options: Options): Promise<Client> {
  checkApps(options);
  const client = new Client(endpointOf(target, options), options);
  try {
    await client.started();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** One stream for all its apps, and the newest token of each. A process needs one. Its timers and sockets let the process end. */
export class Client implements AsyncDisposable {
  readonly #endpoint: Endpoint;
  readonly #options: Options;
  readonly #sources: ReadonlyMap<string, Source>;
  readonly #ending = new AbortController();
  readonly #watch: Watch;
  readonly #run: Promise<void>;
  readonly #unknown = new Map<string, NodeJS.Timeout>();
  readonly #counts: Counts = { reconnects: 0, goaways: 0, reports: 0 };
  #state: StreamState = 'CONNECTING';
  #isStarting: boolean;
  #lastError: RpcError | undefined;
  /** Told of each change while the start waits; with an error, that it failed. */
  #onStart: (error?: LingpaiError) => void = () => {};

  /** @internal */
  constructor(endpoint: Endpoint, options: Options) {
    [this.#endpoint, this.#options, this.#isStarting] = [endpoint, options, !options.startOptional];
    const upkeep = {
      signal: this.#ending.signal,
      retryCapMs: endpoint.timing.retryCapMs,
      emit: (event: LingpaiEvent) => this.#emit(event),
      refresh: (app: string, token: Token | bigint) => this.#refresh(app, token),
    };
    this.#sources = new Map(options.apps.map((app) => [app, new Source(app, upkeep)]));
    const handler = {
      request: () => this.#request(),
      message: (message: WatchTokenResponse, isReopened: boolean) => this.#take(message, isReopened),
      failing: (error: RpcError) => this.#leaveOut(error),
      failed: (error: RpcError, pauseMs: number, failures: number) => this.#failed(error, pauseMs, failures),
      goaway: (afterMs: number) => {
        this.#counts.goaways++;
        this.#lost();
        this.#emit({ type: 'goaway', afterMs });
      },
    };
    this.#watch = new Watch(endpoint, handler, this.#ending.signal);
    this.#run = this.#watch.run();
  }

  /** The source of an app that `connect` was given. Throws ConfigurationError for another. */
  app(app: string): Source {
    const source = this.#sources.get(app);
    if (!source)
      throw new ConfigurationError('apps', `${JSON.stringify(app)} is not among them: name it in \`connect\``);
    return source;
  }

  /** How the stream and the apps are doing, as of now. */
  stats(): Stats {
    const apps = [...this.#sources].map(([app, source]) => {
      const { state, token, reason, words } = source.state;
      return [app, { state, generation: token?.generation ?? 0n, tokenId: token?.id ?? '', reason, words }] as const;
    });
    return { state: this.#state, attempts: this.#watch.attempts, ...this.#counts, apps: Object.fromEntries(apps) };
  }

  /** Ends the stream, calls in flight and waits; what waits throws ClosedError. May be called any number of times (R15). */
  async close(): Promise<void> {
    if (this.#state !== 'CLOSED') {
      this.#state = 'CLOSED';
      this.#ending.abort(new ClosedError());
      for (const timer of this.#unknown.values()) clearTimeout(timer);
      for (const source of this.#sources.values()) source.close();
      this.#onStart(new ClosedError());
      this.#emit({ type: 'closed' });
    }
    await this.#run;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Resolves once the start is over. @internal */
  async started(): Promise<void> {
    if (!this.#isStarting) return;
    const { startTimeoutMs = 10_000 } = this.#options;
    const missing = (): string[] =>
      [...this.#sources.values()].filter(({ state }) => state.state !== 'HELD').map(({ app }) => app);
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(
          () => reject(new StartTimeoutError(missing(), startTimeoutMs, this.#lastError)),
          startTimeoutMs,
        );
        this.#onStart = (error) => {
          if (error) reject(error);
          else if (missing().length === 0) resolve();
        };
        this.#onStart();
      });
    } finally {
      clearTimeout(timer);
      this.#onStart = () => {};
      this.#isStarting = false;
    }
  }

  #request(): WatchRequest | undefined {
    const watched = [...this.#sources.values()].filter(({ app }) => !this.#unknown.has(app));
    if (watched.length === 0) return undefined;
    const held = watched.flatMap(({ app, state: { token } }) => (token ? [[app, token.generation] as const] : []));
    return { appIds: watched.map(({ app }) => app), knownGenerations: Object.fromEntries(held) };
  }

  #take({ event, serverTime }: WatchTokenResponse, isReopened: boolean): void {
    const was = this.#state;
    this.#state = 'LIVE';
    if (isReopened) {
      this.#counts.reconnects++;
      this.#emit({ type: 'reconnect' });
    }
    if (was === 'STALE') log('info', 'the stream is back');
    if (event.case === 'state') {
      this.#sources.get(event.value.appId)?.accept(event.value, serverTime ? msOf(serverTime) : Date.now());
      this.#onStart();
    }
    if (event.case === 'removed') this.#sources.get(event.value.appId)?.removed();
  }

  #lost(): void {
    if (this.#state !== 'LIVE') return;
    this.#state = 'STALE';
    log('info', 'the stream was lost, the tokens held are served');
  }

  /** R10: an app that the broker does not know is asked for by itself, and the stream opened at once with the others. */
  #leaveOut(error: RpcError): number | undefined {
    const named = error.app ?? (this.#request()?.appIds.length === 1 ? this.#request()?.appIds[0] : undefined);
    const source = named === undefined ? undefined : this.#sources.get(named);
    if (this.#isStarting || error.code !== 'NOT_FOUND' || !source || this.#unknown.has(source.app)) return undefined;
    log('warn', 'the broker does not know an app, or it may not be read', { app: source.app });
    this.#askAgain(source);
    source.unknown(error.words);
    return 0;
  }

  #askAgain(source: Source): void {
    const ask = async (): Promise<void> => {
      try {
        const { state, serverTime } = await this.#unary(GET, { appId: source.app });
        if (state) source.accept(state, serverTime ? msOf(serverTime) : Date.now());
      } catch (thrown) {
        const error = thrown as RpcError;
        if (this.#ending.signal.aborted) return;
        if (!isKnown(source.app, error)) {
          this.#tellError('get', error, this.#endpoint.timing.appRetryMs);
          this.#askAgain(source);
          return;
        }
      }
      if (this.#ending.signal.aborted) return;
      this.#unknown.delete(source.app);
      this.#watch.reopen();
    };
    this.#unknown.set(source.app, setTimeout(ask, this.#endpoint.timing.appRetryMs).unref());
  }

  #failed(error: RpcError, pauseMs: number, failures: number): void {
    this.#lost();
    this.#lastError = error;
    this.#tellError('watch', error, pauseMs);
    const fields = { code: error.code, reason: error.reason, failures, retryInMs: Math.round(pauseMs) };
    if (isSlow(error, false)) log('warn', 'somebody must mend a credential, a permission or the address', fields);
    else if (failures === 3 || (failures > 0 && failures % 10 === 0))
      log('warn', 'the stream fails again and again', fields);
    const isFinal = ['NOT_FOUND', 'INVALID_ARGUMENT', 'UNAUTHENTICATED'].includes(error.code);
    if (this.#isStarting && isFinal) this.#onStart(error);
  }

  async #refresh(app: string, token: Token | bigint): ReturnType<ConstructorParameters<typeof Source>[1]['refresh']> {
    const rejected =
      typeof token === 'bigint'
        ? ({ case: 'rejectedGeneration', value: token } as const)
        : ({ case: 'rejectedToken', value: token.value } as const);
    this.#counts.reports++;
    const { outcome, state, serverTime } = await this.#unary(FORCE_REFRESH, { appId: app, rejected });
    const name = outcome === 0 ? 'UNKNOWN' : ((ForceRefreshOutcome[outcome] ?? 'UNKNOWN') as Report['outcome']);
    return { outcome: name, ...(state && { state }), now: serverTime ? msOf(serverTime) : Date.now() };
  }

  /** A call on a connection of its own: one that ran out of time is not used again (R6). */
  async #unary<const M extends typeof GET | typeof FORCE_REFRESH>(
    method: M,
    request: Parameters<typeof Connection.prototype.unary<M[1], M[2]>>[1],
  ) {
    const options = { timeoutMs: this.#endpoint.timing.callMs, signal: this.#ending.signal };
    const connection = await Connection.dialWithin(this.#endpoint, options);
    return connection.unary<M[1], M[2]>(method, request, options);
  }

  #tellError(during: 'watch' | 'get', { code, reason, message }: RpcError, retryInMs: number): void {
    this.#emit({ type: 'error', during, code, reason, message, retryInMs });
  }

  #emit(event: LingpaiEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch {
      // A fault of the user's is none of the stream's.
    }
  }
}

/** Whether an error of Get says that the broker knows the app and has no token of it yet, which the stream then tells of (R10). */
function isKnown(app: string, error: RpcError): boolean {
  return error.app === app && !['NOT_FOUND', 'PERMISSION_DENIED', 'UNAUTHENTICATED'].includes(error.code);
}
