import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Xaes256Gcm } from '../../src/store/xaes.ts';

const NONCE = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWX');
const TEXT = Buffer.from('XAES-256-GCM');

// https://c2sp.org/XAES-256-GCM: without and with the carry of the doubled block.
test.each([
  [1, '', 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271'],
  [3, 'c2sp.org/XAES-256-GCM', '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d'],
])('the vector of C2SP with key %i', (byte, aad, expected) => {
  const cipher = new Xaes256Gcm(Buffer.alloc(32, byte));
  const sealed = cipher.seal(NONCE, TEXT, Buffer.from(aad));
  expect(sealed.toString('hex')).toBe(expected);
  expect(cipher.open(NONCE, sealed, Buffer.from(aad))).toEqual(TEXT);
});

test('the accumulated vector of C2SP: 10,000 keys, nonces, texts and AADs drawn from SHAKE128', () => {
  const draws = 10_000;
  // Key, nonce, and two lengths with what they are of: at most so many bytes.
  const stream = createHash('shake128', { outputLength: draws * (32 + 24 + 2 * 256) }).digest();
  let at = 0;
  const read = (bytes: number) => {
    at += bytes;
    return stream.subarray(at - bytes, at);
  };
  const all = createHash('shake128', { outputLength: 32 });
  for (let i = 0; i < draws; i++) {
    const cipher = new Xaes256Gcm(read(32));
    const nonce = read(24);
    const text = read(read(1).readUInt8());
    const aad = read(read(1).readUInt8());
    const sealed = cipher.seal(nonce, text, aad);
    if (!cipher.open(nonce, sealed, aad)?.equals(text)) expect.fail(`draw ${i} does not open`);
    all.update(sealed);
  }
  expect(all.digest('hex')).toBe('e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939');
});

test('a tag that is cut opens nothing, not even one whose bytes are right', () => {
  const cipher = new Xaes256Gcm(Buffer.alloc(32, 1));
  const aad = Buffer.from('aad');
  const tag = cipher.seal(NONCE, Buffer.alloc(0), aad);
  expect(cipher.open(NONCE, tag, aad)).toEqual(Buffer.alloc(0));
  for (let bytes = 0; bytes < tag.length; bytes++)
    expect(cipher.open(NONCE, tag.subarray(0, bytes), aad)).toBeUndefined();
});

test('a nonce of another length opens nothing', () => {
  const cipher = new Xaes256Gcm(Buffer.alloc(32, 1));
  const aad = Buffer.alloc(0);
  const sealed = cipher.seal(NONCE, TEXT, aad);
  for (const bytes of [0, 12, 23]) expect(cipher.open(NONCE.subarray(0, bytes), sealed, aad)).toBeUndefined();
});
