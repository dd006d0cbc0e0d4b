/**
 * For tests of services that use `@lingpai/client` (R19): a source that needs no broker, and a broker in the process.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import grpc from '@grpc/grpc-js';
import {
  ErrorInfoSchema,
  ForceRefreshOutcome,
  ForceRefreshRequestSchema,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  StatusSchema,
  type TokenState,
  TokenStateSchema,
  TokenStatus,
  WatchTokenRequestSchema,
  type WatchTokenResponse,
  WatchTokenResponseSchema,
} from './gen/lingpai/client/v1/client_pb.js';
import { Source } from './source.ts';

/**
 * A source that holds `values[0]` and needs no broker. A report puts the next value in its place (REFRESHED); of the last one it says
 * STILL_VALID.
 */
export function fixedSource(app: string, ...values: readonly string[]): Source {
  let at = 0;
  const state = (): TokenState => stateOf(app, BigInt(at + 1), values[at] ?? 'TOKEN');
  const source = new Source(app, {
    signal: new AbortController().signal,
    retryCapMs: 0,
    emit: () => {},
    refresh: async () => {
      const isLast = at + 1 >= values.length;
      if (!isLast) at++;
      return { outcome: isLast ? 'STILL_VALID' : 'REFRESHED', state: state(), now: Date.now() };
    },
  });
  source.accept(state(), Date.now());
  return source;
}

/** An app of the fake broker. `issued` has every value that was made, the newest last. */
interface FakeApp {
  generation: bigint;
  readonly issued: string[];
  readonly killed: Set<string>;
}

type Stream = grpc.ServerWritableStream<MessageShape<typeof WatchTokenRequestSchema>, WatchTokenResponse>;

/** A broker in this process, on a port of loopback. Its tokens are made up, and live for two hours. */
export class FakeBroker implements AsyncDisposable {
  /** How many ForceRefresh calls came. */
  reports = 0;
  readonly #server = new grpc.Server();
  readonly #apps = new Map<string, FakeApp>();
  readonly #streams = new Set<Stream>();
  #target = '';

  private constructor(apps: readonly string[]) {
    for (const app of apps) this.#apps.set(app, { generation: 0n, issued: [], killed: new Set() });
    for (const app of apps) this.rotate(app);
    this.#server.addService(
      {
        Get: method('Get', GetRequestSchema, GetResponseSchema, false),
        ForceRefresh: method('ForceRefresh', ForceRefreshRequestSchema, ForceRefreshResponseSchema, false),
        WatchToken: method('WatchToken', WatchTokenRequestSchema, WatchTokenResponseSchema, true),
      },
      {
        Get: this.#get,
        ForceRefresh: this.#forceRefresh,
        WatchToken: this.#watchToken,
      } as unknown as grpc.UntypedServiceImplementation,
    );
  }

  /** Starts one that has a token of each app. */
  static async start(...apps: readonly string[]): Promise<FakeBroker> {
    const broker = new FakeBroker(apps);
    const port = await new Promise<number>((resolve, reject) =>
      broker.#server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    broker.#target = `http://127.0.0.1:${port}`;
    return broker;
  }

  /** What `connect` takes. */
  get target(): string {
    return this.#target;
  }

  /** Makes a new token, tells every stream, and returns its value. The one before it is still honoured. */
  rotate(app: string): string {
    const own = this.#of(app);
    const value = `FAKE_${randomBytes(24).toString('hex')}`;
    own.generation++;
    own.issued.push(value);
    for (const stream of this.#streams)
      if (stream.request.appIds.includes(app)) stream.write(message({ case: 'state', value: this.#state(app) }));
    return value;
  }

  /** The token of now is refused from now on: a report of it makes a new one. Nobody is told. */
  kill(app: string): void {
    const { issued, killed } = this.#of(app);
    for (const value of issued) killed.add(value);
  }

  /** Whether WeChat would take this value: the newest token or the one before it, unless it was killed. */
  honours(app: string, value: string): boolean {
    const { issued, killed } = this.#of(app);
    return issued.slice(-2).includes(value) && !killed.has(value);
  }

  /** Asks each client to open its stream anew after so many milliseconds, and ends the streams. */
  drain(reconnectAfterMs = 100): void {
    const reconnectAfter = {
      seconds: BigInt(Math.floor(reconnectAfterMs / 1000)),
      nanos: (reconnectAfterMs % 1000) * 1e6,
    };
    for (const stream of [...this.#streams]) {
      stream.write(
        message({
          case: 'goaway',
          value: {
            $typeName: 'lingpai.client.v1.Goaway',
            reconnectAfter: { $typeName: 'google.protobuf.Duration', ...reconnectAfter },
          },
        }),
      );
      stream.end();
      this.#streams.delete(stream);
    }
  }

  /** Ends it, with every connection. */
  async stop(): Promise<void> {
    this.#server.forceShutdown();
    this.#streams.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #of(app: string): FakeApp {
    const own = this.#apps.get(app);
    if (!own) throw new RangeError(`the fake broker was started without ${app}`);
    return own;
  }

  #state(app: string): TokenState {
    const { generation, issued } = this.#of(app);
    return stateOf(app, generation, issued.at(-1) ?? '', issued.at(-2));
  }

  readonly #get: grpc.handleUnaryCall<MessageShape<typeof GetRequestSchema>, MessageShape<typeof GetResponseSchema>> = (
    { request: { appId } },
    answer,
  ) => {
    if (!this.#apps.has(appId)) return answer(notFound(appId));
    answer(null, create(GetResponseSchema, { state: this.#state(appId), serverTime: now() }));
  };

  readonly #forceRefresh: grpc.handleUnaryCall<
    MessageShape<typeof ForceRefreshRequestSchema>,
    MessageShape<typeof ForceRefreshResponseSchema>
  > = ({ request: { appId, rejected } }, answer) => {
    this.reports++;
    const own = this.#apps.get(appId);
    if (!own) return answer(notFound(appId));
    const newest = own.issued.at(-1) ?? '';
    const isNewest = rejected.case === 'rejectedToken' ? rejected.value === newest : rejected.value === own.generation;
    let outcome = ForceRefreshOutcome.ALREADY_NEWER;
    if (rejected.case === undefined || (isNewest && own.killed.has(newest))) {
      outcome = ForceRefreshOutcome.REFRESHED;
      this.rotate(appId);
    } else if (isNewest) outcome = ForceRefreshOutcome.STILL_VALID;
    answer(null, create(ForceRefreshResponseSchema, { state: this.#state(appId), outcome, serverTime: now() }));
  };

  readonly #watchToken = (stream: Stream): void => {
    const { appIds, knownGenerations } = stream.request;
    const stranger = appIds.find((app) => !this.#apps.has(app));
    if (stranger !== undefined) {
      stream.emit('error', notFound(stranger));
      return;
    }
    this.#streams.add(stream);
    stream.on('cancelled', () => this.#streams.delete(stream));
    stream.write(message({ case: 'heartbeat', value: { $typeName: 'lingpai.client.v1.Heartbeat', asOf: now() } }));
    for (const app of appIds)
      if ((knownGenerations[app] ?? 0n) < this.#of(app).generation)
        stream.write(message({ case: 'state', value: this.#state(app) }));
  };
}

const LIFE_MS = 2 * 60 * 60_000;
const now = () => timestampFromMs(Date.now());

function message(event: WatchTokenResponse['event']): WatchTokenResponse {
  return create(WatchTokenResponseSchema, { event, serverTime: now() });
}

function stateOf(appId: string, generation: bigint, value: string, previous?: string): TokenState {
  const token = (text: string, lifeMs: number) => ({ value: text, expireTime: timestampFromMs(Date.now() + lifeMs) });
  return create(TokenStateSchema, {
    appId,
    generation,
    status: TokenStatus.FRESH,
    current: token(value, LIFE_MS),
    ...(previous !== undefined && { previous: token(previous, 300_000) }),
  });
}

function method<In extends DescMessage, Out extends DescMessage>(
  name: string,
  input: In,
  output: Out,
  isStream: boolean,
) {
  return {
    path: `/lingpai.v1.TokenService/${name}`,
    requestStream: false,
    responseStream: isStream,
    requestSerialize: (value: MessageShape<In>) => Buffer.from(toBinary(input, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
    responseSerialize: (value: MessageShape<Out>) => Buffer.from(toBinary(output, value)),
    responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
  };
}

function notFound(app: string): Partial<grpc.StatusObject> {
  const info = create(ErrorInfoSchema, { reason: 'APP_NOT_FOUND', domain: 'lingpai', metadata: { app_id: app } });
  const words = 'no such app';
  const details = [{ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: toBinary(ErrorInfoSchema, info) }];
  const metadata = new grpc.Metadata();
  const status = create(StatusSchema, { code: grpc.status.NOT_FOUND, message: words, details });
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  return { code: grpc.status.NOT_FOUND, details: words, metadata };
}
