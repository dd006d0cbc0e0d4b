import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

/** What became of a call. */
export interface Outcome {
  /** Headers and trailers together. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
  /** The code of the reset, or 0. */
  readonly reset: number;
}

/** The head of any call, but for its path. */
export const HEAD = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

/** A message as gRPC frames it. */
export function framed(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** An HTTP/2 connection that sends what no gRPC library would. */
export class RawConnection {
  readonly session: ClientHttp2Session;
  /** The codes of the GOAWAYs that came. */
  readonly goaways: number[] = [];
  readonly closed: Promise<void>;

  /** With `windowBytes`, so much may be on its way to a stream that does not read; with `tls` it speaks by TLS. */
  constructor(address: string, windowBytes?: number, tls?: ConnectionOptions) {
    const settings = windowBytes === undefined ? {} : { initialWindowSize: windowBytes };
    this.session = connect(`${tls ? 'https' : 'http'}://${address}`, { settings, ...tls });
    this.session.on('error', () => {});
    this.session.on('goaway', (code) => this.goaways.push(code));
    this.closed = new Promise((resolve) => this.session.once('close', resolve));
  }

  /** Opens a call; `body` undefined leaves it open. Headers that are undefined are left out. */
  open(path: string, body?: Buffer, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const all = Object.entries({ ...HEAD, ':path': path, ...headers }).filter(([, value]) => value !== undefined);
    const stream = this.session.request(Object.fromEntries(all), { endStream: false });
    stream.on('error', () => {});
    if (body) stream.end(body);
    return stream;
  }

  /** A whole call. */
  call(path: string, body?: Buffer, headers?: OutgoingHttpHeaders): Promise<Outcome> {
    return outcome(this.open(path, body, headers));
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** Reads a call to its end. */
export function outcome(stream: ClientHttp2Stream): Promise<Outcome> {
  const fields: Record<string, unknown> = {};
  const chunks: Buffer[] = [];
  stream.on('response', (headers) => Object.assign(fields, headers));
  stream.on('trailers', (trailers) => Object.assign(fields, trailers));
  stream.on('data', (chunk) => chunks.push(chunk));
  return new Promise((resolve) =>
    stream.once('close', () => resolve({ fields, body: Buffer.concat(chunks), reset: stream.rstCode ?? 0 })),
  );
}

export const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, continuation: 9 } as const;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const END_HEADERS = 4;
export const END_STREAM = 1;
export const ACK = 1;

/** A frame of HTTP/2. */
export function h2(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header in HPACK without its tables. */
export function headerField(name: string, value: string): Buffer {
  const text = (part: string) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part)]);
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

/** The head of a call of `path`, in HPACK without its tables. */
export function headerBlock(path: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http
    headerField(':path', path),
    headerField(':authority', 'localhost'),
    headerField('te', 'trailers'),
    headerField('content-type', 'application/grpc'),
  ]);
}

/** A socket that speaks HTTP/2 frame by frame, and answers nothing by itself. */
export class RawSocket {
  readonly socket: Socket;
  /** The types of the frames that came. */
  readonly frames: { type: number; flags: number; payload: Buffer }[] = [];
  readonly closed: Promise<void>;
  #rest = Buffer.alloc(0);
  readonly #lingers: boolean;

  /** Greets, unless `silent`; with `lingers` it answers pings, and never ends its side of the connection. */
  constructor(address: string, { silent = false, lingers = false } = {}) {
    const [host = '', port = ''] = address.split(':');
    this.socket = connectSocket({ host, port: Number(port), allowHalfOpen: lingers });
    this.#lingers = lingers;
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk) => this.#read(chunk));
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    if (silent) return;
    this.socket.write(PREFACE);
    this.socket.write(h2(FRAME.settings, 0, 0));
  }

  has(type: number): boolean {
    return this.frames.some((frame) => frame.type === type);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const end = 9 + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return;
      const [type, flags] = [this.#rest.readUInt8(3), this.#rest.readUInt8(4)];
      if (this.#lingers && type === FRAME.ping && flags === 0)
        this.socket.write(h2(FRAME.ping, ACK, 0, Buffer.from(this.#rest.subarray(9, end))));
      this.frames.push({ type, flags, payload: Buffer.from(this.#rest.subarray(9, end)) });
      this.#rest = this.#rest.subarray(end);
    }
  }
}
