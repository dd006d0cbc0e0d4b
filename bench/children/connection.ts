import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where calls go, and what each of them sends. */
export interface Target {
  /** `127.0.0.1:7600`. */
  readonly address: string;
  /** `/lingpai.v1.TokenService/Get`. */
  readonly path: string;
  /** The request message. */
  readonly message: Buffer;
  /** By TLS, with a certificate that this one signs, in PEM. */
  readonly ca?: string | undefined;
  /** The header `authorization`, of at most 126 characters. */
  readonly authorization?: string | undefined;
}

/** Told of what comes. Streams are numbered from 0 in the order in which they were opened. */
export interface Receiver {
  /** A whole message arrived, of so many bytes. */
  message(stream: number, length: number): void;
  /** The server ended the call. */
  ended(stream: number): void;
}

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;

const LARGEST_WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65_535;

/**
 * One HTTP/2 connection that makes gRPC calls with as little work as can be: the frames of a call are made once and copied,
 * and of what comes only the frame and message heads are read. A client library takes more of the CPU for a call than the
 * servers that are to be measured; on a machine with two cores it would be the client that is measured.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #receiver: Receiver;
  readonly #first: Buffer;
  readonly #next: Buffer;
  #streams = 0;
  #rest: Buffer = Buffer.alloc(0);
  #received = 0;

  private constructor(socket: Socket, target: Target, receiver: Receiver) {
    this.#socket = socket;
    this.#receiver = receiver;
    const [first, next] = headerBlocks(target);
    const message = Buffer.alloc(5 + target.message.length);
    message.writeUInt32BE(target.message.length, 1);
    target.message.copy(message, 5);
    const data = frame(DATA, END_STREAM, message);
    this.#first = Buffer.concat([frame(HEADERS, END_HEADERS, first), data]);
    this.#next = Buffer.concat([frame(HEADERS, END_HEADERS, next), data]);
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0); // SETTINGS_INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(LARGEST_WINDOW, 2);
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(frame(SETTINGS, 0, settings));
    socket.write(windowUpdate(LARGEST_WINDOW - DEFAULT_WINDOW));
    socket.on('data', (chunk) => this.#read(chunk));
  }

  /** Connects. What the server does against expectation throws, and so ends the process. */
  static open(target: Target, receiver: Receiver): Promise<Connection> {
    const [host = '', port = ''] = target.address.split(':');
    return new Promise((resolve, reject) => {
      const to = { host, port: Number(port), noDelay: true };
      const { ca } = target;
      const socket: Socket = ca === undefined ? connect(to) : connectTls({ ...to, ca, ALPNProtocols: ['h2'] });
      socket.once('error', reject);
      const event = ca === undefined ? 'connect' : 'secureConnect';
      socket.once(event, () => resolve(new Connection(socket, target, receiver)));
    });
  }

  /** Makes this many calls at once, in one write. Returns the number of the first. */
  call(count: number): number {
    const firstStream = this.#streams;
    const calls: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const frames = Buffer.from(this.#streams === 0 ? this.#first : this.#next);
      const id = 2 * this.#streams++ + 1;
      frames.writeUInt32BE(id, 5);
      frames.writeUInt32BE(id, 9 + frames.readUIntBE(0, 3) + 5);
      calls.push(frames);
    }
    this.#socket.write(Buffer.concat(calls));
    return firstStream;
  }

  #read(chunk: Buffer): void {
    const buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (buffer.length - at >= 9) {
      const end = at + 9 + buffer.readUIntBE(at, 3);
      if (end > buffer.length) break;
      this.#frame(
        buffer.readUInt8(at + 3),
        buffer.readUInt8(at + 4),
        buffer.readUInt32BE(at + 5),
        buffer.subarray(at + 9, end),
      );
      at = end;
    }
    this.#rest = buffer.subarray(at);
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    const stream = (id - 1) / 2;
    switch (type) {
      case DATA:
        this.#data(stream, flags, payload);
        break;
      case SETTINGS:
        if (!(flags & ACK)) this.#socket.write(frame(SETTINGS, ACK, Buffer.alloc(0)));
        return;
      case PING:
        if (!(flags & ACK)) this.#socket.write(frame(PING, ACK, payload));
        return;
      case RST_STREAM:
      case GOAWAY:
        throw new Error(`the server sent ${type === GOAWAY ? 'GOAWAY' : 'RST_STREAM'}: ${payload.toString('hex')}`);
    }
    if ((type === DATA || type === HEADERS) && flags & END_STREAM) this.#receiver.ended(stream);
  }

  #data(stream: number, flags: number, payload: Buffer): void {
    let at = 0;
    while (at + 5 <= payload.length) {
      const length = payload.readUInt32BE(at + 1);
      at += 5 + length;
      this.#receiver.message(stream, length);
    }
    if (at !== payload.length || flags & PADDED)
      throw new Error('the server split or padded a message: not expected here');
    this.#received += payload.length;
    if (this.#received < LARGEST_WINDOW / 2) return;
    this.#socket.write(windowUpdate(this.#received));
    this.#received = 0;
  }
}

/** The stream's id is filled in later. */
function frame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  return Buffer.concat([head, payload]);
}

function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(WINDOW_UPDATE, 0, payload);
}

/** HPACK: the first call teaches the server its headers, the ones after it name them by a byte each, as client libraries do. */
function headerBlocks({ address, path, authorization }: Target): [first: Buffer, next: Buffer] {
  const fixed = Buffer.from([0x83, 0x86]); // :method POST, :scheme http
  const headers = [
    [':path', path],
    [':authority', address],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
    ['user-agent', 'lingpai-bench'],
    ['grpc-accept-encoding', 'identity'],
    ...(authorization === undefined ? [] : [['authorization', authorization]]),
  ];
  const text = (value = '') => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const literals = headers.map(([name, value]) => Buffer.concat([Buffer.from([0x40]), text(name), text(value)]));
  const indexes = headers.map((_, i) => 0x80 | (62 + headers.length - 1 - i));
  return [Buffer.concat([fixed, ...literals]), Buffer.concat([fixed, Buffer.from(indexes)])];
}
