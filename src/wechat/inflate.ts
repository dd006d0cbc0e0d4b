import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } from 'node:zlib';
import { MAX_ANSWER_BYTES, malformed, tooLarge } from './malformed.ts';

const INFLATERS: Readonly<Record<string, (body: Buffer, bounds: { maxOutputLength: number }) => Buffer>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  // The standard means zlib's format by this name; some send the bare one.
  deflate: (body, bounds) => (isZlib(body) ? inflateSync : inflateRawSync)(body, bounds),
  br: brotliDecompressSync,
};

/**
 * The bytes of an answer whose `content-encoding` this is: boxes in between compress what nobody asked them to. Throws the
 * UpstreamError that says why they cannot be had; no more than `MAX_ANSWER_BYTES` are inflated. Of so few neither takes long.
 */
export function inflate(body: Buffer, contentEncoding: string): Buffer {
  const name = contentEncoding.trim().toLowerCase();
  if (body.length === 0 || name === '' || name === 'identity') return body;
  const inflater = Object.hasOwn(INFLATERS, name) ? INFLATERS[name] : undefined;
  if (inflater === undefined) throw malformed('in a content-encoding that is none of gzip, deflate and br');
  try {
    return inflater(body, { maxOutputLength: MAX_ANSWER_BYTES });
  } catch (error) {
    const isTooLarge = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    throw isTooLarge ? tooLarge() : malformed('compressed bytes that cannot be inflated whole');
  }
}

/** RFC 1950: the compression method is 8, and the first two bytes are a multiple of 31. */
function isZlib(body: Buffer): boolean {
  return body.length >= 2 && ((body[0] ?? 0) & 15) === 8 && body.readUInt16BE(0) % 31 === 0;
}
