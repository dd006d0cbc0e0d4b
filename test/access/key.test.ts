import { createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { hashOf, idOf, isKey, newKey, publicKeyOf, standInKey } from '../../src/access/key.ts';

/** Bytes in a row, again and again. */
function bytesOf(...bytes: number[]): (count: number) => Uint8Array {
  return (count) => Uint8Array.from({ length: count }, (_, i) => bytes[i % bytes.length] ?? 0);
}

it('a key is its prefix, 32 digits drawn and 6 of their CRC32', () => {
  const key = newKey(bytesOf(0, 9, 10, 35, 36, 61));
  expect(key).toMatch(/^lingpai_[0-9A-Za-z]{38}$/);
  const drawn = '09AZaz09AZaz09AZaz09AZaz09AZaz09';
  expect(key.slice(8, 40)).toBe(drawn);
  // CRC32 in base 62, worked out in another way.
  let value = BigInt(crc32(drawn));
  const digits = [];
  for (let i = 0; i < 6; i++, value /= 62n)
    digits.unshift('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'[Number(value % 62n)]);
  expect(key.slice(40)).toBe(digits.join(''));
  expect(isKey(key)).toBe(true);
});

it('bytes that would make the first digits likelier are drawn again', () => {
  expect(newKey(bytesOf(248, 255, 1)).slice(8, 40)).toBe('1'.repeat(32));
  // 247 is the last digit, four times round.
  expect(newKey(bytesOf(247)).slice(8, 40)).toBe('z'.repeat(32));
  const counts = new Map<string, number>();
  for (let byte = 0; byte < 248; byte++) {
    const first = newKey(bytesOf(255, byte)).charAt(8);
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  expect(counts.size).toBe(62);
  expect(new Set(counts.values())).toEqual(new Set([4]));
});

it('a character changed, left out, added or put in another case makes it no key', () => {
  const key = newKey(randomBytes);
  for (let i = 0; i < key.length; i++) {
    const [before, at = '', after] = [key.slice(0, i), key[i], key.slice(i + 1)];
    const other = at === 'x' ? 'y' : 'x';
    expect(isKey(before + other + after)).toBe(false);
    expect(isKey(before + after)).toBe(false);
    expect(isKey(before + at + at + after)).toBe(false);
    const cased = at === at.toUpperCase() ? at.toLowerCase() : at.toUpperCase();
    if (cased !== at) expect(isKey(before + cased + after)).toBe(false);
  }
  expect(isKey(`${key}\n`)).toBe(false);
  expect(isKey(` ${key}`)).toBe(false);
  expect(isKey('')).toBe(false);
});

it('its hash is SHA-256, and its id the first 12 digits of that', () => {
  expect(hashOf('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(idOf(hashOf('abc'))).toBe('ba7816bf8f01');
});

it('its pair for stand-ins follows from the key alone, and its public half checks what the other signs', () => {
  const [key, other] = [newKey(randomBytes), newKey(randomBytes)];
  expect(publicKeyOf(key)).toBe(publicKeyOf(key));
  expect(publicKeyOf(key)).not.toBe(publicKeyOf(other));
  // The same for ever: stand-ins outlive a release. Worked out by HMAC in Python and by openssl.
  expect(publicKeyOf(`lingpai_${'0'.repeat(38)}`)).toBe('zWXX1OS6S5n2IZpYPubi33R8Q2LjQbI6Jv8aBvvdFok');
  const signature = sign(null, Buffer.from('wx1'), standInKey(key));
  const half = (x: string) => createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  expect(verify(null, Buffer.from('wx1'), half(publicKeyOf(key)), signature)).toBe(true);
  expect(verify(null, Buffer.from('wx1'), half(publicKeyOf(other)), signature)).toBe(false);
});
