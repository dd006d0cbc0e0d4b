import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deframer } from '../../src/server/deframer.ts';
import { framed } from '../support/raw-http2.ts';

/** The messages that come out when the body comes in these pieces; what is left is kept after each. */
function messages(pieces: readonly Buffer[], maxBytes = 1_000): Buffer[] {
  const deframer = new Deframer(maxBytes);
  const found: Buffer[] = [];
  for (const piece of pieces) {
    deframer.push(piece);
    for (let message = deframer.next(); message; message = deframer.next()) found.push(Buffer.from(message));
    deframer.keep();
    // Nothing of it may be needed any more.
    piece.fill(0xff);
  }
  expect(deframer.held).toBe(0);
  return found;
}

describe('a body', () => {
  it('gives the same messages however it is cut', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 });
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1 }), (all, cuts) => {
        const body = Buffer.concat(all.map((message) => framed(message)));
        const pieces: Buffer[] = [];
        for (let at = 0, i = 0; at < body.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1);
          pieces.push(Buffer.from(body.subarray(at, end)));
          at = end;
        }
        expect(messages(pieces)).toEqual(all.map((message) => Buffer.from(message)));
      }),
    );
  });

  it('is refused as soon as a head says that it must be, before the message has come', () => {
    for (const [flags, length, words] of [
      [0, 1_001, 'too large'],
      [1, 1, 'compressed'],
      [128, 1, 'does not know'],
    ] as const) {
      const deframer = new Deframer(1_000);
      deframer.push(framed(Buffer.alloc(0), flags, length));
      expect(() => deframer.next()).toThrow(words);
    }
  });

  it('that is a whole message is not copied', () => {
    const body = framed(Buffer.from('hello'));
    const deframer = new Deframer(1_000);
    deframer.push(body);
    expect(deframer.next()?.buffer).toBe(body.buffer);
  });
});
