import { randomBytes } from 'node:crypto';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { create, type MessageInitShape, type UnknownField } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectError, createContextKey, createContextValues, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  ForceRefreshOutcome,
  type ForceRefreshRequest,
  type ForceRefreshResponseSchema,
  TokenService,
  type TokenState,
  TokenStateSchema,
  TokenStatus,
  type WatchTokenRequest,
  type WatchTokenResponse,
  WatchTokenResponseSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { idOf, refusal } from '../support/scripted.ts';

/** A request, as it came. */
export interface Entry {
  readonly method: 'get' | 'watch' | 'report';
  /** By performance.now(). */
  readonly at: number;
  /** The connection that it came on. */
  readonly connection: object | undefined;
  /** The id of its header `authorization`, as `idOf` makes them; null: it had none. A header is a secret. */
  readonly shown: string | null;
  readonly apps: readonly string[];
  /** Of a watch. */
  readonly known: Readonly<Record<string, bigint>>;
  /** Of a report: the id of the value, or the generation, that was named. */
  readonly rejected?: string;
}

/** A stream that is open. */
export class Watch {
  readonly entry: Entry;
  /** Between heartbeats, in milliseconds; 0: none. */
  heartbeatMs: number;
  /** How many it was sent in quiet times. */
  heartbeats = 0;
  readonly #queue: WatchTokenResponse[] = [];
  #wake = () => {};
  #end: { error?: ConnectError } | undefined;

  constructor(entry: Entry, heartbeatMs: number) {
    this.entry = entry;
    this.heartbeatMs = heartbeatMs;
  }

  /** Sends an event. `atMs`: what the broker's clock says. */
  send(
    event: MessageInitShape<typeof WatchTokenResponseSchema>['event'],
    atMs = Date.now(),
    more: UnknownField[] = [],
  ) {
    const message = create(WatchTokenResponseSchema, { event: event as never, serverTime: timestampFromMs(atMs) });
    if (more.length > 0) message.$unknown = more;
    this.#queue.push(message);
    this.#wake();
  }

  state(state: TokenState, atMs?: number): void {
    this.send({ case: 'state', value: state }, atMs);
  }

  goaway(ms: number): void {
    this.send({ case: 'goaway', value: { reconnectAfter: durationFromMs(ms) } });
  }

  /** Ends it, cleanly without an error. */
  end(error?: ConnectError): void {
    this.#end = error ? { error } : {};
    this.#wake();
  }

  async *events(signal: AbortSignal): AsyncGenerator<WatchTokenResponse> {
    signal.addEventListener('abort', () => this.#wake());
    while (!signal.aborted) {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) yield next;
      if (this.#end?.error) throw this.#end.error;
      if (this.#end) return;
      const isQuiet = await new Promise<boolean>((resolve) => {
        const timer = this.heartbeatMs > 0 ? setTimeout(() => resolve(true), this.heartbeatMs) : undefined;
        this.#wake = () => {
          clearTimeout(timer);
          resolve(false);
        };
        if (this.#queue.length > 0 || this.#end || signal.aborted) this.#wake();
      });
      if (!isQuiet) continue;
      this.heartbeats++;
      this.send({ case: 'heartbeat', value: {} });
    }
  }
}

const connectionKey = createContextKey<object | undefined>(undefined);

/** What every token value and key of the kit begins with: no driver may print it. */
export const canary = 'CANARY';

/**
 * A broker that does as a scenario tells it, by gRPC over HTTP/2 and by Connect over HTTP/1.1 at once. As it starts it behaves as a
 * real one: it tells the states that it has been given, sends heartbeats, and answers a report with a new token.
 */
export class KitBroker implements AsyncDisposable {
  readonly journal: Entry[] = [];
  /** The streams that are open. */
  readonly open = new Set<Watch>();
  readonly states = new Map<string, TokenState>();
  heartbeatMs = 200;
  /** JSON messages get a field more, which no client knows. */
  isOfTomorrow = false;
  /** What becomes of a stream that comes. */
  onWatch: (watch: Watch, request: WatchTokenRequest) => void = (watch, request) => this.tell(watch, request);
  /** What a Get is answered. */
  onGet: (appId: string) => TokenState = (appId) => this.stateOf(appId);
  /** What a report is answered. */
  onReport: (
    request: ForceRefreshRequest,
  ) =>
    | Promise<MessageInitShape<typeof ForceRefreshResponseSchema>>
    | MessageInitShape<typeof ForceRefreshResponseSchema> = ({ appId }) => ({
    outcome: ForceRefreshOutcome.REFRESHED,
    state: this.rotate(appId),
    serverTime: timestampFromMs(Date.now()),
  });
  readonly #h2: Http2Server;
  readonly #h1: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    const routes = connectNodeAdapter({
      routes: (router) => router.service(TokenService, this.#service()),
      contextValues: (request) =>
        createContextValues().set(connectionKey, 'stream' in request ? request.stream.session : request.socket),
    });
    this.#h2 = createServer(routes);
    this.#h1 = createHttpServer((request, response) => {
      if (this.isOfTomorrow) addFields(response);
      routes(request, response);
    });
    this.#h1.keepAliveTimeout = 60_000;
    for (const server of [this.#h1, this.#h2])
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
      });
  }

  static async start(): Promise<KitBroker> {
    const broker = new KitBroker();
    for (const server of [broker.#h2, broker.#h1])
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return broker;
  }

  /** HOST:PORT of what is spoken. */
  address(transport: 'grpc' | 'connect'): string {
    const server = transport === 'grpc' ? this.#h2 : this.#h1;
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** The requests of a kind. */
  of(method: Entry['method']): Entry[] {
    return this.journal.filter((entry) => entry.method === method);
  }

  /** A state with a token of its own; it is not told to anyone. */
  state(
    appId: string,
    generation: bigint,
    more: { lifeMs?: number; nowMs?: number; status?: TokenStatus; statusReason?: string } = {},
  ): TokenState {
    const { lifeMs = 7_200_000, nowMs = Date.now(), status = TokenStatus.FRESH, statusReason = '' } = more;
    const value = `${canary}-${appId}-${generation}-${randomBytes(6).toString('hex')}`;
    return create(TokenStateSchema, {
      ...{ appId, generation, status, statusReason },
      current: {
        value,
        id: idOf(value),
        issueTime: timestampFromMs(nowMs),
        expireTime: timestampFromMs(nowMs + lifeMs),
      },
    });
  }

  /** Holds a state, and tells it to all who watch. */
  put(state: TokenState, atMs?: number): TokenState {
    this.states.set(state.appId, state);
    for (const watch of this.open) if (watches(watch.entry, state.appId)) watch.state(state, atMs);
    return state;
  }

  /** A new token of the next generation, told to all who watch. */
  rotate(appId: string): TokenState {
    const held = this.states.get(appId);
    const next = this.state(appId, (held?.generation ?? 0n) + 1n);
    if (held?.current) next.previous = held.current;
    return this.put(next);
  }

  stateOf(appId: string): TokenState {
    const state = this.states.get(appId);
    if (!state) throw unknownApp(appId);
    return state;
  }

  /** What a real broker does with a stream that comes. */
  tell(watch: Watch, request: WatchTokenRequest): void {
    const missing = request.appIds.find((appId) => !this.states.has(appId));
    if (missing !== undefined) {
      watch.end(unknownApp(missing));
      return;
    }
    for (const appId of request.appIds) {
      const [state, known] = [this.stateOf(appId), request.knownGenerations[appId]];
      if (known === undefined || state.generation > known) watch.state(state);
    }
    watch.send({ case: 'heartbeat', value: {} });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of [this.#h1, this.#h2]) await new Promise((resolve) => server.close(resolve));
  }

  #service(): ServiceImpl<typeof TokenService> {
    const note = (
      method: Entry['method'],
      context: { values: { get(key: typeof connectionKey): object | undefined }; requestHeader: Headers },
      more: Pick<Entry, 'apps'> & Partial<Entry>,
    ) => {
      const header = context.requestHeader.get('authorization');
      const entry: Entry = {
        ...{ method, at: performance.now(), known: {}, shown: header === null ? null : idOf(header) },
        ...{ connection: context.values.get(connectionKey), ...more },
      };
      this.journal.push(entry);
      return entry;
    };
    return {
      get: ({ appId }, context) => {
        note('get', context, { apps: [appId] });
        return { state: this.onGet(appId), serverTime: timestampFromMs(Date.now()) };
      },
      forceRefresh: async (request, context) => {
        const { appId, rejected } = request;
        note('report', context, {
          apps: [appId],
          rejected: rejected.case === 'rejectedToken' ? idOf(rejected.value) : String(rejected.value ?? ''),
        });
        return this.onReport(request);
      },
      watchToken: (request, context) =>
        this.#watch(
          request,
          note('watch', context, { apps: request.appIds, known: request.knownGenerations }),
          context.signal,
        ),
    };
  }

  async *#watch(request: WatchTokenRequest, entry: Entry, signal: AbortSignal): AsyncGenerator<WatchTokenResponse> {
    const watch = new Watch(entry, this.heartbeatMs);
    this.open.add(watch);
    try {
      this.onWatch(watch, request);
      yield* watch.events(signal);
    } finally {
      this.open.delete(watch);
    }
  }
}

function watches({ apps }: Entry, appId: string): boolean {
  return apps.length === 0 || apps.includes(appId);
}

/** Each JSON message of a stream gets a field that no client knows. */
function addFields(response: { write: (...args: never[]) => boolean }): void {
  const write = response.write.bind(response) as (chunk: Uint8Array, ...rest: unknown[]) => boolean;
  response.write = ((chunk: Uint8Array, ...rest: unknown[]) => {
    if (chunk[0] !== 0 || chunk.length < 7 || chunk[5] !== 0x7b) return write(chunk, ...rest);
    const json = JSON.parse(Buffer.from(chunk.subarray(5)).toString());
    const body = Buffer.from(JSON.stringify({ future: { list: [1, null, { a: 'b' }] }, ...json }));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    return write(Buffer.concat([head, body]), ...rest);
  }) as never;
}

function unknownApp(appId: string): ConnectError {
  return refusal(Code.NotFound, 'APP_NOT_FOUND', { appId });
}
