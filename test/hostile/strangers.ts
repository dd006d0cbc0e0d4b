import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type SecureClientSessionOptions,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { PREFACE, settings } from './frames.ts';

/** Strangers come from an address of their own: what is bounded for each peer is theirs and not the polite client's. */
const STRANGER = '127.0.0.2';

/** What a stranger may hold itself: beyond it node:http2 would reset its streams. */
const OWN_MEMORY_MB = 1_024;

/** How long a stranger waits for the end of an answer unless told otherwise, in milliseconds. */
const PATIENCE_MS = 5_000;

/** Whether this happens to it within `ms`, and before it is closed. */
export function happens(emitter: Socket | ClientHttp2Stream, event: string, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (isSo: boolean) => {
      clearTimeout(timer);
      emitter.off(event, onEvent).off('close', onClose);
      resolve(isSo);
    };
    const onEvent = () => settle(true);
    const onClose = () => settle(false);
    const timer = setTimeout(onClose, ms);
    emitter.on(event, onEvent).on('close', onClose);
  });
}

/** A TCP connection. It may be refused or cut off: `closed` is then true, and nothing is thrown. */
export class Wire implements Disposable {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];

  /** `from`: its own address. */
  constructor(address: string, from = STRANGER) {
    const { hostname: host, port } = new URL(`tcp://${address}`);
    this.socket = connect({ host, port: Number(port), localAddress: from });
    this.socket.on('error', () => {});
  }

  /** All that came. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get closed(): boolean {
    return this.socket.destroyed || this.socket.readableEnded;
  }

  /** Whether it was let in: connected, and not ended since. */
  get open(): boolean {
    return !this.closed && !this.socket.connecting;
  }

  /** Begins to read, and keeps what comes. */
  read(): this {
    this.socket.on('data', (chunk) => this.#chunks.push(chunk));
    return this;
  }

  /** Resolves when it is connected or will never be. */
  async settled(): Promise<this> {
    if (this.socket.connecting) await once(this.socket, 'connect').catch(() => {});
    return this;
  }

  /** Writes. Resolves with whether the other end takes more: it does not when it has ended the connection or reads no more. */
  async write(bytes: Uint8Array | string): Promise<boolean> {
    if (this.closed) return false;
    return this.socket.write(bytes) || (await happens(this.socket, 'drain', PATIENCE_MS));
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** A connection that speaks HTTP/2 by hand; the preface is sent. */
export async function http2Wire(address: string, ...pairs: readonly (readonly [number, number])[]): Promise<Wire> {
  const wire = await new Wire(address).settled();
  await wire.write(Buffer.concat([PREFACE, settings(...pairs)]));
  return wire;
}

/** The frames that a wire has received, whole ones only. */
export function framesOf({ received }: Wire): { type: number; flags: number; stream: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 9 <= received.length; ) {
    const end = at + 9 + received.readUIntBE(at, 3);
    if (end > received.length) break;
    const [type, flags, stream] = [
      received.readUInt8(at + 3),
      received.readUInt8(at + 4),
      received.readUInt32BE(at + 5),
    ];
    frames.push({ type, flags, stream, payload: received.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

/** A TLS handshake. Resolves with the connection, or undefined where there is none. */
export async function handshake(address: string, options: ConnectionOptions = {}): Promise<TLSSocket | undefined> {
  const wire = await new Wire(address).settled();
  const socket = connectTls({ socket: wire.socket, rejectUnauthorized: false, ...options });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => wire.socket.once('close', resolve));
  const done = once(socket, 'secureConnect').then(
    () => true,
    () => false,
  );
  if (wire.closed || !(await Promise.race([done, closed.then(() => false)]))) return undefined;
  return socket;
}

/** A session of node:http2; `over`: on this connection of TLS, else on one of its own. `from`: its own address. */
export async function http2Session(
  address: string,
  { over, from = STRANGER, ...options }: SecureClientSessionOptions & { over?: TLSSocket; from?: string } = {},
): Promise<ClientHttp2Session & Disposable> {
  const { hostname: host, port } = new URL(`tcp://${address}`);
  const createConnection = () => over ?? connect({ host, port: Number(port), localAddress: from });
  const session = connectHttp2(`http://${address}`, { maxSessionMemory: OWN_MEMORY_MB, ...options, createConnection });
  session.on('error', () => {});
  await Promise.race([once(session, 'connect'), once(session, 'close')]).catch(() => {});
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

/** How a gRPC call ended. */
export interface GrpcEnd {
  /** -1: without a status. */
  readonly status: number;
  readonly message: string;
  readonly headers: IncomingHttpHeaders;
  /** Messages and all, head included. */
  readonly bytes: Buffer;
  /** 0: it was not reset. */
  readonly resetCode: number;
}

/** A gRPC call that is open. */
export interface OpenCall {
  readonly stream: ClientHttp2Stream;
  readonly ended: Promise<GrpcEnd>;
}

/** Opens a gRPC call, and reads what comes unless it is `unread`. */
export function open(
  session: ClientHttp2Session,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  { unread = false, standbyDelayMs = PATIENCE_MS } = {},
): OpenCall {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  const chunks: Buffer[] = [];
  let found: IncomingHttpHeaders = {};
  if (!unread) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  stream.on('response', (all) => {
    found = { ...found, ...all };
  });
  stream.on('trailers', (all) => {
    found = { ...found, ...all };
  });
  const ended = new Promise<GrpcEnd>((resolve) => {
    const end = () =>
      resolve({
        status: found['grpc-status'] === undefined ? -1 : Number(found['grpc-status']),
        message: String(found['grpc-message'] ?? ''),
        headers: found,
        bytes: Buffer.concat(chunks),
        resetCode: stream.rstCode ?? 0,
      });
    stream.once('close', end);
    const timer = setTimeout(() => stream.destroy(), standbyDelayMs);
    stream.once('close', () => clearTimeout(timer));
  });
  return { stream, ended };
}

/** One gRPC call: sends these bytes, message heads included, and resolves with how it ended. */
export function call(
  session: ClientHttp2Session,
  path: string,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
  standbyDelayMs = PATIENCE_MS,
): Promise<GrpcEnd> {
  const { stream, ended } = open(session, path, headers, { standbyDelayMs });
  stream.end(bytes);
  return ended;
}

/** An HTTP answer. */
export interface HttpEnd {
  /** 0: there was none. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One HTTP request on a connection of its own. An answer that does not end is what came of it. */
export function http(
  address: string,
  {
    method = 'GET',
    path,
    headers = {},
    body = '',
  }: {
    method?: string;
    path: string;
    headers?: Readonly<Record<string, string>>;
    body?: string | Uint8Array;
  },
): Promise<HttpEnd> {
  return new Promise((resolve) => {
    const { hostname: host, port } = new URL(`tcp://${address}`);
    const options = { host, port, method, path, headers, agent: false, localAddress: STRANGER } as const;
    const none = () => resolve({ status: 0, headers: {}, body: Buffer.alloc(0) });
    const asked = httpRequest(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('close', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
      response.on('error', () => {});
    });
    const timer = setTimeout(() => asked.destroy(), PATIENCE_MS);
    asked.once('close', () => clearTimeout(timer));
    asked.once('error', none).end(body);
  });
}
