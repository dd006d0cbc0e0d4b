import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { SendTemplatesRequestSchema } from '../../src/gen/lingpai/v1/message_pb.js';
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

  it('refuses a message of more fields than it may have, before it is decoded', () => {
    const fields = (count: number) => Buffer.concat(Array(count).fill(Buffer.from([0x0a, 1, 65])));
    expect(decode(GetRequestSchema, fields(3), 3)).toMatchObject({ appId: 'A' });
    expect(() => decode(GetRequestSchema, fields(4), 3)).toThrow(
      expect.objectContaining({ reason: 'INVALID_REQUEST', message: expect.stringContaining('more than 3') }),
    );
    // It counts no further than it must: what comes then is not even looked at.
    expect(() => decode(GetRequestSchema, Buffer.concat([fields(5), Buffer.from([0xff])]), 3)).toThrow('more than 3');
    expect(() => decode(GetRequestSchema, Uint8Array.of(0x0a, 5, 65), 3)).toThrow('well-formed');
  });

  it('counts those of a message within too', () => {
    const message = { appId: 'wx1', data: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`thing${i}`, {}])) };
    const bytes = toBinary(SendTemplatesRequestSchema, create(SendTemplatesRequestSchema, { message }));
    expect(decode(SendTemplatesRequestSchema, bytes, 11)).toMatchObject({ message: { appId: 'wx1' } });
    expect(() => decode(SendTemplatesRequestSchema, bytes, 10)).toThrow('more than 10');
  });

  it('reads a message with fields of a later version', () => {
    expect(decode(GetRequestSchema, Uint8Array.of(0x0a, 1, 65, 0x78, 7))).toMatchObject({ appId: 'A' });
  });
});
