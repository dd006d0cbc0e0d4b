import { readFile } from 'node:fs/promises';
import { isIP, type Socket } from 'node:net';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import grpc from '@grpc/grpc-js';
import { fileWords, handshakeWords, plainWords } from './advice.ts';
import { RpcError } from './errors.ts';
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from './gen/lingpai/client/v1/client_pb.js';
import { checkedKey, type Endpoint } from './options.ts';

const SERVICE = '/lingpai.v1.TokenService';

/** A connection is one call's own: one that is open and passes nothing any more is then never used again (R6). */
const CHANNEL_OPTIONS = {
  'grpc.use_local_subchannel_pool': 1, // else a new channel takes the connection of an old one
  'grpc.enable_http_proxy': 0,
  'grpc.enable_retries': 0, // a pause before each attempt is this library's own
  'grpc.service_config_disable_resolution': 1,
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  'grpc.primary_user_agent': 'lingpai-client-node/0.1.0',
};

/** A channel with its sockets, and what each call on it shows. */
export class Connection {
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #sockets: Socket[] = [];
  #fault: Error | undefined;
  #isClosed = false;
  /** Of a channel without TLS. */
  readonly #clear: string | undefined;

  private constructor(address: string, isTls: boolean, credentials: grpc.ChannelCredentials, key: string | undefined) {
    this.#clear = isTls ? undefined : address;
    this.#tap(credentials);
    this.#client = new grpc.Client(`dns:${address}`, credentials, CHANNEL_OPTIONS);
    if (key !== undefined) this.#metadata.set('authorization', `Bearer ${key}`);
  }

  /** Reads the credentials, and makes a channel; it connects with the first call. Rejects with RpcError. */
  static async dial({ address, isTls, tls = {}, key, keyFile }: Endpoint): Promise<Connection> {
    try {
      const shown =
        keyFile === undefined ? await (typeof key === 'function' ? key() : key) : await read('keyFile', keyFile);
      const bearer =
        shown === undefined
          ? undefined
          : checkedKey(String(shown), keyFile === undefined ? 'key' : `keyFile ${keyFile}`);
      const [ca, certKey, cert] = await Promise.all(
        (['ca', 'key', 'cert'] as const).map((name) => (tls[name] ? read(`tls.${name}`, tls[name]) : null)),
      );
      const credentials = isTls ? grpc.credentials.createSsl(ca, certKey, cert) : grpc.credentials.createInsecure();
      return new Connection(address, isTls, credentials, bearer);
    } catch (cause) {
      const words = `a credential cannot be used: ${(cause as Error).message}`;
      throw new RpcError({ code: 'UNAUTHENTICATED', words, isLocal: true, cause });
    }
  }

  /** As `dial`, which a function that gives the key may hold up: rejects too when the time is over, and when the signal aborts. */
  static async dialWithin(
    endpoint: Endpoint,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<Connection> {
    let isOver = false;
    let end: (code: string, words: string) => void = () => {};
    const over = new Promise<never>((_, reject) => {
      end = (code, words) => {
        isOver = true;
        reject(new RpcError({ code, words }));
      };
    });
    const late = setTimeout(() => end('DEADLINE_EXCEEDED', `no key was given within ${timeoutMs} ms`), timeoutMs);
    const aborted = (): void => end('CANCELLED', 'the client was closed');
    signal.addEventListener('abort', aborted);
    const dialled = Connection.dial(endpoint);
    void dialled.then(
      (made) => isOver && made.close(),
      () => {},
    );
    try {
      if (signal.aborted) aborted();
      return await Promise.race([dialled, over]);
    } finally {
      clearTimeout(late);
      signal.removeEventListener('abort', aborted);
    }
  }

  /**
   * Keeps hold of the sockets: grpc-js waits for the other side to close them, which never comes behind a dead middle box, keeps the process
   * alive for an open stream, and tells of a failed handshake in words only.
   */
  #tap(credentials: grpc.ChannelCredentials): void {
    const make = credentials._createSecureConnector.bind(credentials);
    credentials._createSecureConnector = (...args) => {
      const connector = make(...args);
      // RFC 6066 knows no addresses as server names, and Node warns of them; the certificate is checked against the address all the same.
      const { connectionOptions } = connector as { connectionOptions?: { servername?: string } };
      if (connectionOptions && isIP(connectionOptions.servername ?? '')) connectionOptions.servername = '';
      const note = (socket: Socket): void => {
        this.#sockets.push(socket);
        if (this.#isClosed) socket.destroy();
        socket.on('error', (error) => {
          if (isHandshake(error)) this.#fault ??= error;
        });
      };
      const connect = connector.connect.bind(connector);
      connector.connect = async (socket) => {
        note(socket);
        try {
          const result = await connect(socket);
          if (result.socket !== socket) note(result.socket);
          return result;
        } catch (error) {
          if (isHandshake(error)) this.#fault ??= error;
          throw error;
        }
      };
      return connector;
    };
  }

  get isConnected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === grpc.connectivityState.READY;
  }

  /** Lets the process end although a stream is open. */
  unref(): void {
    for (const socket of this.#sockets) socket.unref();
  }

  /** One answer. Rejects with RpcError; the connection is closed then and afterwards. */
  async unary<In extends DescMessage, Out extends DescMessage>(
    [method, input, output]: readonly [string, In, Out],
    request: MessageInitShape<In>,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<MessageShape<Out>> {
    const cancelled = (): void => this.close();
    signal.addEventListener('abort', cancelled);
    try {
      return await new Promise((resolve, reject) => {
        this.#client.makeUnaryRequest<MessageShape<In>, MessageShape<Out>>(
          `${SERVICE}/${method}`,
          serializer(input),
          deserializer(output),
          create(input, request),
          this.#metadata,
          { deadline: Date.now() + timeoutMs },
          (error, answer) => (error || !answer ? reject(error) : resolve(answer)),
        );
        if (signal.aborted) this.close();
      });
    } catch (error) {
      throw this.errorOf(error);
    } finally {
      signal.removeEventListener('abort', cancelled);
      this.close();
    }
  }

  /** A stream of answers, as grpc-js has it: `data`, and `error` or `end`. */
  stream<In extends DescMessage, Out extends DescMessage>(
    [method, input, output]: readonly [string, In, Out],
    request: MessageInitShape<In>,
  ): grpc.ClientReadableStream<MessageShape<Out>> {
    return this.#client.makeServerStreamRequest<MessageShape<In>, MessageShape<Out>>(
      `${SERVICE}/${method}`,
      serializer(input),
      deserializer(output),
      create(input, request),
      this.#metadata,
    );
  }

  /** What went wrong with a call of this connection. */
  errorOf(thrown: unknown): RpcError {
    if (thrown instanceof RpcError) return thrown;
    const { code, details, metadata } = thrown as Partial<grpc.ServiceError>;
    if (this.#fault !== undefined) {
      return new RpcError({
        code: 'UNAVAILABLE',
        words: handshakeWords(this.#fault),
        isLocal: true,
        cause: this.#fault,
      });
    }
    return new RpcError({
      code: grpc.status[code ?? 2] ?? 'UNKNOWN',
      words: plainWords(details ?? String((thrown as Error | undefined)?.message ?? thrown), this.#clear),
      ...detailsOf(metadata?.get('grpc-status-details-bin')[0]),
      cause: thrown,
    });
  }

  /** Closes the sockets too, whatever is under way. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#client.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Whether it is a fault of TLS, not of the network beneath it. */
function isHandshake(error: unknown): error is Error {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && !/^(E[A-Z0-9]+$|ERR_(HTTP2|STREAM|SOCKET|TLS_HANDSHAKE_TIMEOUT))/.test(code);
}

async function read(option: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new Error(fileWords(option, path, cause), { cause });
  }
}

/** What the details say. Their words are the broker's own: in `details` of grpc-js, `: , / = ;` are still percent-encoded. */
function detailsOf(
  packed: unknown,
): Partial<Pick<RpcError, 'words'>> & Pick<RpcError, 'reason' | 'metadata' | 'retryAfterMs'> {
  const found = { reason: '', metadata: {} as Readonly<Record<string, string>>, retryAfterMs: null as number | null };
  if (!(packed instanceof Uint8Array)) return found;
  try {
    const status = fromBinary(StatusSchema, packed);
    if (status.message !== '') Object.assign(found, { words: status.message });
    for (const { typeUrl, value } of status.details) {
      if (typeUrl.endsWith('/google.rpc.ErrorInfo')) {
        const { reason, metadata } = fromBinary(ErrorInfoSchema, value);
        Object.assign(found, { reason, metadata });
      }
      if (typeUrl.endsWith('/google.rpc.RetryInfo'))
        found.retryAfterMs = msOf(fromBinary(RetryInfoSchema, value).retryDelay);
    }
  } catch {
    // What cannot be read says nothing.
  }
  return found;
}

/** Milliseconds of a google.protobuf.Duration or Timestamp; 0 where it is absent. */
export function msOf(time: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  return time ? Number(time.seconds) * 1000 + time.nanos / 1e6 : 0;
}

const serializer =
  <Desc extends DescMessage>(schema: Desc) =>
  (message: MessageShape<Desc>): Buffer => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };

const deserializer =
  <Desc extends DescMessage>(schema: Desc) =>
  (bytes: Buffer): MessageShape<Desc> =>
    fromBinary(schema, bytes);
