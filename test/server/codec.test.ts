import { create, fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { GetRequestSchema } from '../../src/gen/lingpai/v1/token_pb.js';
import { decode, frame } from '../../src/server/codec.ts';

/** The message in a frame. */
function read(bytes: Buffer) {
  expect([bytes.readUInt8(0), bytes.readUInt32BE(1)]).toEqual([0, bytes.length - 5]);
  return fromBinary(GetRequestSchema, bytes.subarray(5));
}

describe('frame', () => {
  it('keeps the bytes of a frozen message, and only of one', () => {
    const shared = Object.freeze(create(GetRequestSchema, { appId: 'wx1' }));
    const bytes = frame(GetRequestSchema, shared);
    expect(frame(GetRequestSchema, shared)).toBe(bytes);
    expect(read(bytes)).toEqual(shared);

    const own = create(GetRequestSchema, { appId: 'wx1' });
    frame(GetRequestSchema, own);
    own.appId = 'wx2';
    expect(read(frame(GetRequestSchema, own))).toEqual(own);
  });

  it('takes the fields of a message too', () => {
    expect(read(frame(GetRequestSchema, { appId: 'wx1' })).appId).toBe('wx1');
  });
});

describe('decode', () => {
  it.each([[0x0a], [0x0a, 5, 65], [0xff], [0x0b]])('refuses what is no message: %j', (...bytes) => {
    expect(() => decode(GetRequestSchema, Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ reason: 'INVALID_REQUEST', violations: [expect.anything()] }),
    );
  });

  it('reads a message with fields of a later version', () => {
    expect(decode(GetRequestSchema, Uint8Array.of(0x0a, 1, 65, 0x78, 7))).toMatchObject({ appId: 'A' });
  });
});
