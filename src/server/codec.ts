import { create, type DescMessage, fromBinary, isMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { LingpaiError } from '../core/errors.ts';

const encoded = new WeakMap<object, Buffer>();

/** The bytes of a response. A frozen message never changes, so its bytes are kept as long as it is. */
export function encode(desc: DescMessage, message: unknown): Buffer {
  if (!Object.isFrozen(message)) return toBuffer(desc, message as MessageInitShape<DescMessage>);
  const shared = message as MessageInitShape<DescMessage>;
  let bytes = encoded.get(shared);
  if (!bytes) {
    bytes = toBuffer(desc, shared);
    encoded.set(shared, bytes);
  }
  return bytes;
}

/** The request in these bytes. Throws INVALID_REQUEST when they are not one. */
export function decode(desc: DescMessage, bytes: Uint8Array): unknown {
  try {
    return fromBinary(desc, bytes);
  } catch {
    const description = `is not a well-formed ${desc.typeName}: generate the client from this broker's .proto files`;
    const violations = [{ field: '', description }];
    throw new LingpaiError(`the request ${description}`, { reason: 'INVALID_REQUEST', violations });
  }
}

function toBuffer(desc: DescMessage, message: MessageInitShape<DescMessage>): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(desc, isMessage(message, desc) ? message : create(desc, message));
  return Buffer.from(buffer, byteOffset, byteLength);
}
