import { h2 } from '../support/raw-http2.ts';

export { ACK, END_HEADERS } from '../support/raw-http2.ts';

/** HTTP/2 as it is on the wire, for what no client library sends. */

/** What a connection begins with; a SETTINGS frame follows. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** The types of frames. */
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const END_STREAM = 1;

/** A frame's head. */
export interface FrameHead {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
}

/** A whole frame. */
export function frame({ type, flags, stream }: FrameHead, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  return h2(type, flags, stream, payload);
}

/** SETTINGS, as pairs of identifier and value. */
export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [i, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  }
  return frame({ type: FrameType.SETTINGS, flags: 0, stream: 0 }, payload);
}

/** The identifier of the window that a new stream has. */
export const INITIAL_WINDOW_SIZE = 4;

/** RST_STREAM with CANCEL. */
export function reset(stream: number): Buffer {
  return frame({ type: FrameType.RST_STREAM, flags: 0, stream }, Buffer.from([0, 0, 0, 8]));
}

/** Headers in HPACK, each a literal that is not indexed. */
export function hpack(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), hpackText(name), hpackText(value)]));
}

/** The headers of a gRPC call. */
export function grpcHeaders(path: string, more: readonly (readonly [string, string])[] = []): Buffer {
  return hpack([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'broker'],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
    ...more,
  ]);
}

/** A gRPC message behind its head of five bytes. */
export function grpcMessage(message: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([hpackLength(bytes.length), bytes]);
}

/** An integer with a prefix of seven bits. */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
