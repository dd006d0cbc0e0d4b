import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  isMessage,
  type MessageInitShape,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { Code, ConnectError } from '@connectrpc/connect';
import { LingpaiError } from '../core/kernel/errors.ts';
import { MAX_MESSAGE_BYTES } from '../transport/service.ts';

/** gRPC's head of a message: a byte that says "not compressed", and its length in four. */
export const HEAD_BYTES = 5;

/** What a message is written as. */
export type Codec = 'proto' | 'json';

const frames: Record<Codec, WeakMap<object, Buffer>> = { proto: new WeakMap(), json: new WeakMap() };

/**
 * A response as gRPC, gRPC-Web and Connect's streams put it on the wire, head and bytes. A frozen message never changes, so
 * its frame is kept as long as it is, and all who are sent it share it. Throws RESOURCE_EXHAUSTED when it is larger than any message.
 */
export function frame(desc: DescMessage, message: unknown, codec: Codec = 'proto'): Buffer {
  if (!Object.isFrozen(message)) return toFrame(desc, message as MessageInitShape<DescMessage>, codec);
  const shared = message as MessageInitShape<DescMessage>;
  let bytes = frames[codec].get(shared);
  if (!bytes) {
    bytes = toFrame(desc, shared, codec);
    frames[codec].set(shared, bytes);
  }
  return bytes;
}

/** The request in these bytes. Throws INVALID_REQUEST when they are not one, or have more than `maxFields` fields. */
export function decode(desc: DescMessage, bytes: Uint8Array, maxFields = Number.POSITIVE_INFINITY): unknown {
  try {
    if (maxFields === Number.POSITIVE_INFINITY || countFields(desc, bytes, maxFields) <= maxFields)
      return fromBinary(desc, bytes);
  } catch {
    throw refused(`is not a well-formed ${desc.typeName}: generate the client from this broker's .proto files`);
  }
  throw refused(`has more than ${maxFields} entries in its lists and maps: send fewer`);
}

/** The request in this JSON; fields that are not known are passed over. Throws INVALID_ARGUMENT when it is not one. */
export function decodeJson(desc: DescMessage, json: string): unknown {
  try {
    return fromJsonString(desc, json, { ignoreUnknownFields: true });
  } catch (error) {
    throw ConnectError.from(error, Code.InvalidArgument);
  }
}

/** How many fields a message has, with those of messages in it, but not in its lists and maps; it stops to count beyond `limit`. */
function countFields(desc: DescMessage, bytes: Uint8Array, limit: number): number {
  const reader = new BinaryReader(bytes);
  let count = 0;
  while (reader.pos < reader.len && count <= limit) {
    const [fieldNo, wireType] = reader.tag();
    count++;
    const field = desc.fields.find(({ number }) => number === fieldNo);
    if (field?.fieldKind === 'message' && wireType === WireType.LengthDelimited)
      count += countFields(field.message, reader.bytes(), limit - count);
    else reader.skip(wireType, fieldNo);
  }
  return count;
}

function refused(description: string): LingpaiError {
  const violations = [{ field: '', description }];
  return new LingpaiError(`the request ${description}`, { reason: 'INVALID_REQUEST', violations });
}

function toFrame(desc: DescMessage, init: MessageInitShape<DescMessage>, codec: Codec): Buffer {
  const message = isMessage(init, desc) ? init : create(desc, init);
  const bytes = codec === 'json' ? Buffer.from(toJsonString(desc, message)) : toBinary(desc, message);
  if (bytes.length > MAX_MESSAGE_BYTES) {
    const words = `the answer has ${bytes.length} bytes and would be larger than any message: ask for less`;
    throw new ConnectError(words, Code.ResourceExhausted);
  }
  const frame = Buffer.alloc(HEAD_BYTES + bytes.length);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, HEAD_BYTES);
  return frame;
}
