import { connect, type IncomingHttpHeaders } from 'node:http2';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Access } from '../../src/core/access/access.ts';
import type { Clock } from '../../src/core/kernel/clock.ts';
import {
  type BadRequest,
  BadRequestSchema,
  ErrorInfoSchema,
  type RetryInfo,
  RetryInfoSchema,
} from '../../src/gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../src/gen/google/rpc/status_pb.js';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { toConnectError } from '../../src/rpc/errors.ts';
import { standardServices } from '../../src/rpc/standard-services.ts';
import { type TokenBroker, tokenService } from '../../src/rpc/token-service.ts';
import { TOKEN_LIMITS } from '../../src/rpc/validate.ts';
import type { Mount } from '../../src/server/mount.ts';
import type { Service } from '../../src/transport/service.ts';

/** A free port of this machine. */
export const LOOPBACK = { host: '127.0.0.1', port: 0 };

export const STALL_TIMEOUT_MS = 30_000;

/** What an HTTP listener is given where that does not matter. */
export const HTTP = {
  listen: LOOPBACK,
  hosts: [],
  limits: { inAll: 100, perPeer: 100 },
  onRefused() {},
  stallTimeoutMs: STALL_TIMEOUT_MS,
  states: () => [],
  metrics: { contentType: 'text/plain', metrics: async () => '' },
};

/** What listeners are given, and what they told of. */
export class Mounted implements Mount {
  readonly clock: Clock;
  readonly services: readonly Service[];
  /** `TokenService/Get OK` for each finished call. */
  readonly calls: string[] = [];
  readonly faults: unknown[] = [];
  /** How long each rotation took to be written, in milliseconds. */
  readonly propagations: number[] = [];

  constructor(clock: Clock, served: TokenBroker | Service) {
    this.clock = clock;
    this.services = [
      'desc' in served
        ? served
        : {
            desc: TokenService,
            impl: tokenService({
              broker: served,
              clock,
              stallTimeoutMs: STALL_TIMEOUT_MS,
              propagation: (ms) => this.propagations.push(ms),
            }),
            limits: TOKEN_LIMITS,
          },
    ];
  }

  readonly report = (error: unknown): void => {
    this.faults.push(error);
  };
  readonly toError = (error: unknown) => toConnectError(error, this.report);
  readonly rpc = (method: string, code: string): void => {
    this.calls.push(`${method.replace('lingpai.v1.', '')} ${code}`);
  };
}

/** What the gRPC listener is given: what is mounted, and gRPC's standard services. */
export function grpcOf(mounted: Mounted) {
  const { health, services } = standardServices(mounted.services, Access.open(mounted.clock));
  return { ...mounted, services: [...mounted.services, ...services], health, listen: LOOPBACK };
}

/** Waits for something that real I/O brings about; the test's time limit is its end. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}

/** What a foreign client gets: names as in the proto, 64-bit numbers as text, enums by name. */
// biome-ignore lint/suspicious/noExplicitAny: a client without generated code has no types.
type Answer = any;

/** A client as any language would have it: from the .proto files alone, on grpc-js. */
export class ForeignClient {
  readonly #client: Client;

  constructor(address: string, service = 'lingpai.v1.TokenService', protos: string[] = ['lingpai/v1/token.proto']) {
    const proto = join(import.meta.dirname, '../../proto');
    const standard = join(import.meta.dirname, '../../third_party/proto');
    const loaded = loadPackageDefinition(
      loadSync(protos, {
        includeDirs: [proto, standard],
        keepCase: true,
        longs: String,
        enums: String,
        defaults: true,
        oneofs: true,
      }),
    );
    // biome-ignore lint/suspicious/noExplicitAny: packages nest to any depth.
    const found = service.split('.').reduce((at: any, name) => at[name], loaded) as ServiceClientConstructor;
    this.#client = new found(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  }

  /** One unary call. Rejects with the ServiceError. */
  call(method: string, request: object, options: { deadline?: number; metadata?: Metadata } = {}): Promise<Answer> {
    const { metadata = new Metadata(), ...rest } = options;
    return new Promise((resolve, reject) => {
      const call = (this.#client as Answer)[method];
      call.call(this.#client, request, metadata, rest, (error: ServiceError | null, answer: Answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  /** One unary call that is cancelled by `signal`. */
  cancellable(method: string, request: object, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const method_ = (this.#client as Answer)[method];
      const call = method_.call(this.#client, request, (error: ServiceError | null, answer: Answer) =>
        error ? reject(error) : resolve(answer),
      );
      signal.addEventListener('abort', () => call.cancel());
    });
  }

  stream(method: string, request: object): Reader {
    return new Reader((this.#client as Answer)[method](request));
  }

  /** An open bidirectional call. */
  duplex(method: string): ClientDuplexStream<object, Answer> {
    return (this.#client as Answer)[method]();
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** The messages of a server stream, in order, and its end. */
export class Reader {
  readonly #call: ClientReadableStream<Answer>;
  readonly #messages: AsyncIterator<Answer>;
  /** The status that ended the stream. */
  readonly ended: Promise<{ code: number; details: string; metadata: Metadata }>;

  constructor(call: ClientReadableStream<Answer>) {
    this.#call = call;
    this.ended = new Promise((resolve) => call.once('status', resolve));
    this.#messages = call[Symbol.asyncIterator]();
    call.on('error', () => {});
  }

  /** The next message; rejects with the ServiceError that ends the stream. */
  async next(): Promise<Answer> {
    const { value, done } = await this.#messages.next();
    if (done) throw new Error('the stream has ended');
    return value;
  }

  cancel(): void {
    this.#call.cancel();
  }
}

/** A ServiceError's google.rpc details. */
export function detailsOf({ metadata }: { metadata: Metadata }) {
  const bytes = metadata.get('grpc-status-details-bin')[0];
  if (!Buffer.isBuffer(bytes)) throw new Error('the status has no details');
  const status = fromBinary(StatusSchema, bytes);
  const all = <Desc extends DescMessage>(desc: Desc): MessageShape<Desc>[] =>
    status.details.flatMap((any) => anyUnpack(any, desc) ?? []);
  const [info, ...more] = all(ErrorInfoSchema);
  if (!info || more.length > 0) throw new Error('the status has not exactly one ErrorInfo');
  return {
    reason: info.reason,
    domain: info.domain,
    metadata: info.metadata,
    retry: all(RetryInfoSchema)[0] as RetryInfo | undefined,
    bad: all(BadRequestSchema)[0] as BadRequest | undefined,
    status: { code: status.code, message: status.message },
  };
}

/** The error that a call fails with. */
export async function failure(call: Promise<unknown>): Promise<ServiceError> {
  return call.then(
    () => {
      throw new Error('the call succeeded');
    },
    (error: ServiceError) => error,
  );
}

/** A server stream of a client that does not read until it is told to, and allows `windowBytes` on their way. */
export class StuckReader {
  readonly #session;
  readonly #stream;
  /** The trailers, should they come. */
  trailers: IncomingHttpHeaders | undefined;
  /** The code of the reset, or 0. */
  readonly closed: Promise<number>;

  constructor(address: string, path: string, request: Uint8Array, windowBytes: number) {
    this.#session = connect(`http://${address}`, { settings: { initialWindowSize: windowBytes } });
    this.#session.on('error', () => {});
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    this.#stream = this.#session.request(headers);
    this.#stream.pause();
    this.#stream.on('error', () => {});
    this.#stream.once('trailers', (trailers) => {
      this.trailers = trailers;
    });
    this.closed = new Promise((resolve) => this.#stream.once('close', () => resolve(this.#stream.rstCode ?? 0)));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(request.length, 1);
    this.#stream.end(Buffer.concat([prefix, request]));
  }

  /** Begins to read. */
  read(): void {
    this.#stream.resume();
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
