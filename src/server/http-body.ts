import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { LingpaiError } from '../core/kernel/errors.ts';
import type { RequestLimit } from '../transport/service.ts';
import type { BodyShare } from './bodies.ts';
import { type Codec, decode, decodeJson, HEAD_BYTES } from './codec.ts';
import { cutOff, Deframer, wrongCount } from './deframer.ts';

/** A request whose body is to be read. */
export interface BodyParts {
  readonly share: BodyShare;
  readonly method: DescMethod;
  readonly limit: RequestLimit;
}

/**
 * The body of a request that has one message, whole, with JSON that is known to be UTF-8: a decoder would replace what is
 * not, and the wrong text would be sent on. Fails with RESOURCE_EXHAUSTED when it is too large or there is no room, and
 * INVALID_REQUEST when it is not UTF-8 or no such message.
 */
export async function readBody(request: IncomingMessage, { share, method, limit }: BodyParts): Promise<Buffer> {
  const body = await readAll(request, share, limit);
  const type = request.headers['content-type'] ?? '';
  if (/^application\/json\b/i.test(type)) requireUtf8(body);
  else if (/^application\/(connect|grpc-web)\+json\b/i.test(type)) requireUtf8(body.subarray(HEAD_BYTES));
  else {
    // What connect cannot decode it calls our fault.
    const message = /^application\/proto\b/i.test(type) ? body : onlyMessage(body);
    if (message) decode(method.input, message, limit.fields);
  }
  return body;
}

/** The request of a stream, which is one message. Fails as `readBody` does, and where there is no message, or more than one. */
export async function readRequest(
  request: IncomingMessage,
  { share, method, limit }: BodyParts,
  codec: Codec,
): Promise<unknown> {
  const body = await readAll(request, share, limit);
  // No header said how: those that do are refused before.
  if (body[0] === 1)
    throw new ConnectError('a message says that it is compressed, and nothing says how', Code.Internal);
  const messages = new Deframer(limit.bytes);
  messages.push(body);
  const message = messages.next();
  if (!message && messages.held > 0) throw cutOff();
  if (!message || messages.held > 0) throw wrongCount(`${method.parent.typeName}/${method.name}`);
  if (codec === 'proto') return decode(method.input, message, limit.fields);
  const json = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  requireUtf8(json);
  return decodeJson(method.input, json.toString('utf8'));
}

async function readAll(request: IncomingMessage, share: BodyShare, limit: RequestLimit): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // What is not read is read by Node and thrown away, so that the answer arrives.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit.bytes + HEAD_BYTES)
      throw new ConnectError(`the message is larger than ${limit.bytes} bytes`, Code.ResourceExhausted);
    if (!share.grow(size))
      throw new ConnectError('too many large requests are under way: try again later', Code.ResourceExhausted);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The message behind its head where there is one, whole and not compressed: all else connect refuses by itself. */
function onlyMessage(body: Buffer): Buffer | undefined {
  const isWhole = body.length >= HEAD_BYTES && body[0] === 0 && body.readUInt32BE(1) === body.length - HEAD_BYTES;
  return isWhole ? body.subarray(HEAD_BYTES) : undefined;
}

function requireUtf8(json: Buffer): void {
  if (isUtf8(json)) return;
  const at = firstBadByte(json);
  const before = json.subarray(0, at).toString('utf8');
  const line = before.split('\n').length;
  const description = `is not UTF-8 at byte ${at + 1} (line ${line}): JSON is written in UTF-8, not in GBK or another encoding`;
  throw new LingpaiError(`the request ${description}`, {
    reason: 'INVALID_REQUEST',
    violations: [{ field: '', description }],
  });
}

/** Where what was decoded and encoded again begins to differ. */
function firstBadByte(bytes: Buffer): number {
  const again = Buffer.from(bytes.toString('utf8'));
  let at = 0;
  while (bytes[at] === again[at]) at++;
  return at;
}
