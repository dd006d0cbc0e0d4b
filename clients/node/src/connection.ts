import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { ClosedError, RpcError } from './errors.ts';
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from './gen/lingpai/client/v1/client_pb.ts';
import type { Settings } from './options.ts';

/** The longest message that is taken, in bytes. */
const messageMax = 4 << 20;

/** gRPC's codes, by number. */
const codes = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED'],
  ...['INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'],
];

/**
 * One connection to the broker, for one stream or one call, and closed with it. gRPC is spoken over node:http2, since its `Session.unref`
 * lets a process end that holds nothing but a client, which no gRPC library of Node allows while a stream is open.
 */
export class Connection {
  readonly #session: ClientHttp2Session;
  readonly #authorization: string | undefined;
  readonly #failure: Promise<never>;
  #fail: (error: Error) => void = () => {};

  private constructor(session: ClientHttp2Session, authorization: string | undefined) {
    this.#session = session;
    this.#authorization = authorization;
    this.#failure = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.#failure.catch(() => {});
  }

  /** Connects. Rejects with an RpcError; with a ClosedError once the signal aborts. */
  static async open(settings: Settings, signal: AbortSignal, isBackground: boolean): Promise<Connection> {
    const { authorization, ca, cert, key } = await settings.credentials();
    if (signal.aborted) throw new ClosedError();
    const certificates = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
    let session: ClientHttp2Session;
    try {
      session = connect(settings.origin, { ...certificates, minVersion: 'TLSv1.2', settings: { enablePush: false } });
    } catch (error) {
      throw new RpcError('UNAVAILABLE', `the certificates cannot be used: ${wordsOf(error)}`, {
        needsOperator: true,
        cause: error,
      });
    }
    if (isBackground) session.unref();
    const connection = new Connection(session, authorization);
    let isConnected = false;
    session.on('error', (error: Error & { code?: string }) => {
      const isTls =
        settings.isTls && (!isConnected || /^ERR_SSL/.test(error.code ?? '')) && !network.test(error.code ?? '');
      connection.close(new RpcError('UNAVAILABLE', wordsOf(error), { needsOperator: isTls, cause: error }));
    });
    session.once('close', () => connection.close(new RpcError('UNAVAILABLE', 'the connection was closed')));
    session.once('goaway', () => session.close());
    const stop = () => connection.close(new ClosedError());
    signal.addEventListener('abort', stop);
    session.once('close', () => signal.removeEventListener('abort', stop));
    const late = setTimeout(() => {
      connection.close(new RpcError('UNAVAILABLE', `no connection within ${settings.timing.connectMs} ms`));
    }, settings.timing.connectMs);
    if (isBackground) late.unref();
    try {
      await Promise.race([new Promise((resolve) => session.once('connect', resolve)), connection.#failure]);
      isConnected = true;
      return connection;
    } finally {
      clearTimeout(late);
    }
  }

  /** One call: each message of the answer is given to `take`. Rejects with an RpcError, or with what the connection was closed with. */
  call<In extends DescMessage, Out extends DescMessage>(
    method: string,
    [input, request]: readonly [In, MessageShape<In>],
    output: Out,
    take: (message: MessageShape<Out>) => void,
  ): Promise<void> {
    const answered = new Promise<void>((resolve, reject) => {
      const stream = this.#session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: `/lingpai.v1.TokenService/${method}`,
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'lingpai-node/0.1.0',
        ...(this.#authorization !== undefined && { authorization: this.#authorization }),
      });
      let waiting: Buffer = Buffer.alloc(0);
      let last: IncomingHttpHeaders = {};
      stream.on('response', (headers) => {
        last = headers;
        if (headers[':status'] !== 200) reject(fromHttp(Number(headers[':status'])));
      });
      stream.on('trailers', (trailers) => {
        last = trailers;
      });
      stream.on('data', (chunk: Buffer) => {
        waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
        try {
          for (let length = lengthOf(waiting); waiting.length >= 5 + length; length = lengthOf(waiting)) {
            const message = fromBinary(output, waiting.subarray(5, 5 + length));
            waiting = waiting.subarray(5 + length);
            take(message);
          }
        } catch (error) {
          reject(
            error instanceof RpcError ? error : new RpcError('INTERNAL', `a message cannot be read: ${wordsOf(error)}`),
          );
          stream.close(constants.NGHTTP2_CANCEL);
        }
      });
      stream.on('error', (error) => reject(new RpcError('UNAVAILABLE', wordsOf(error), { cause: error })));
      stream.on('close', () => {
        const error = errorOf(last);
        if (error) reject(error);
        else resolve();
      });
      const bytes = toBinary(input, request);
      const frame = Buffer.alloc(5 + bytes.length);
      frame.writeUInt32BE(bytes.length, 1);
      frame.set(bytes, 5);
      stream.end(frame);
    });
    answered.catch(() => {});
    return Promise.race([answered, this.#failure]);
  }

  /** Closes the connection at once; what is under way is rejected with the error. */
  close(error: Error): void {
    this.#fail(error);
    this.#session.destroy();
  }
}

/** Failures of the network, which say nothing of certificates. */
const network = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|ERR_HTTP2)/;

/** The length of the first message, in bytes; Infinity while its head is not whole. Throws RpcError. */
function lengthOf(bytes: Buffer): number {
  if (bytes.length < 5) return Infinity;
  const length = bytes.readUInt32BE(1);
  if (bytes[0] !== 0) throw new RpcError('INTERNAL', 'a message is compressed, which was not asked for');
  if (length > messageMax)
    throw new RpcError('RESOURCE_EXHAUSTED', `a message of ${length} bytes is above ${messageMax}`);
  return length;
}

/** What trailers say; undefined where all went well. */
function errorOf(trailers: IncomingHttpHeaders): RpcError | undefined {
  const status = trailers['grpc-status'];
  if (status === '0') return undefined;
  if (status === undefined) return new RpcError('UNAVAILABLE', 'the stream ended without a status');
  const code = codes[Number(status)] ?? 'UNKNOWN';
  let words = String(trailers['grpc-message'] ?? '');
  try {
    words = decodeURIComponent(words);
  } catch {} // as it came
  const more: { reason?: string; app?: string; retryAfterMs?: number } = {};
  try {
    const packed = Buffer.from(String(trailers['grpc-status-details-bin'] ?? ''), 'base64');
    for (const { typeUrl, value } of fromBinary(StatusSchema, packed).details) {
      if (typeUrl.endsWith('/google.rpc.ErrorInfo')) {
        const { reason, metadata } = fromBinary(ErrorInfoSchema, value);
        more.reason = reason;
        more.app = metadata['app_id'] ?? '';
      }
      if (typeUrl.endsWith('/google.rpc.RetryInfo'))
        more.retryAfterMs = msOf(fromBinary(RetryInfoSchema, value).retryDelay);
    }
  } catch {} // details that cannot be read say nothing
  return new RpcError(code, words, more);
}

/** The code for an answer that is not gRPC's, as gRPC maps them. */
function fromHttp(status: number): RpcError {
  const names: Record<number, string> = { 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'UNIMPLEMENTED' };
  const isBusy = status === 429 || (status >= 502 && status <= 504);
  return new RpcError(
    names[status] ?? (isBusy ? 'UNAVAILABLE' : 'UNKNOWN'),
    `HTTP status ${status}: is this the gRPC port?`,
  );
}

/** Milliseconds of a google.protobuf.Duration or Timestamp. */
export function msOf(time: { seconds: bigint; nanos: number } | undefined): number {
  return time ? Number(time.seconds) * 1000 + time.nanos / 1e6 : 0;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
