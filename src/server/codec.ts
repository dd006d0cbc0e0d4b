import { create, type DescMessage, fromBinary, isMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { LingpaiError } from '../core/kernel/errors.ts';

/** gRPC's head of a message: a byte that says "not compressed", and its length in four. */
export const HEAD_BYTES = 5;

const frames = new WeakMap<object, Buffer>();

/**
 * A response as gRPC puts it on the wire, head and bytes. A frozen message never changes, so its frame is kept as long as
 * it is, and all who are sent it share it.
 */
export function frame(desc: DescMessage, message: unknown): Buffer {
  if (!Object.isFrozen(message)) return toFrame(desc, message as MessageInitShape<DescMessage>);
  const shared = message as MessageInitShape<DescMessage>;
  let bytes = frames.get(shared);
  if (!bytes) {
    bytes = toFrame(desc, shared);
    frames.set(shared, bytes);
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

function toFrame(desc: DescMessage, message: MessageInitShape<DescMessage>): Buffer {
  const bytes = toBinary(desc, isMessage(message, desc) ? message : create(desc, message));
  const frame = Buffer.alloc(HEAD_BYTES + bytes.length);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, HEAD_BYTES);
  return frame;
}
