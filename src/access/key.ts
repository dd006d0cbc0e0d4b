import { createPrivateKey, createPublicKey, hash, hkdfSync, type KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** What every key begins with, so that a scanner for secrets finds one that leaked. */
export const KEY_PREFIX = 'lingpai_';
/** The characters of a key: 8 of prefix, 32 drawn at random (190 bits), 6 of checksum. */
export const KEY_LENGTH = 46;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const RANDOM_DIGITS = 32;
const CHECK_DIGITS = 6;
/** Bytes from here on would make the first digits likelier than the last ones. */
const UNBIASED = 256 - (256 % DIGITS.length);
const SHAPE = /^lingpai_[0-9A-Za-z]{38}$/;

/** Random bytes that are fit for secrets: `randomBytes` of node:crypto. */
export type RandomBytes = (count: number) => Uint8Array;

/** A new key: `lingpai_`, 32 digits of base 62, and the CRC32 of these in 6 more. */
export function newKey(randomBytes: RandomBytes): string {
  let drawn = '';
  while (drawn.length < RANDOM_DIGITS) {
    for (const byte of randomBytes(RANDOM_DIGITS)) {
      if (byte < UNBIASED && drawn.length < RANDOM_DIGITS) drawn += DIGITS[byte % DIGITS.length];
    }
  }
  return KEY_PREFIX + drawn + checksumOf(drawn);
}

/** Whether a text has the shape of a key and its checksum: what has not was mistyped or cut, and never was a key. */
export function isKey(text: string): boolean {
  if (!SHAPE.test(text)) return false;
  return checksumOf(text.slice(KEY_PREFIX.length, -CHECK_DIGITS)) === text.slice(-CHECK_DIGITS);
}

function checksumOf(drawn: string): string {
  let rest = crc32(drawn);
  let digits = '';
  for (let i = 0; i < CHECK_DIGITS; i++) {
    digits = DIGITS[rest % DIGITS.length] + digits;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}

/**
 * The SHA-256 of a key in hex: all by which the broker knows it again. A slow hash is for what people think up; 190 random bits
 * need none. A look-up by it compares hashes and never keys, so how long it takes tells nothing that helps to guess a key: of one
 * whose hash begins as a known one's does, no more of the key is right than of any other.
 */
export function hashOf(text: string): string {
  return hash('sha256', text);
}

/** By what logs name a credential: the first 12 hex digits of its hash. */
export function idOf(hashed: string): string {
  return hashed.slice(0, 12);
}

/** PKCS #8 around the 32 bytes of an Ed25519 seed (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * The key pair with which a key signs its stand-ins. Its seed is HKDF of the key, so that whoever has the key has the pair, and
 * whoever has only the key file, with the hash and the public half, can make no stand-in.
 */
export function standInKey(key: string): KeyObject {
  const seed = Buffer.from(hkdfSync('sha256', key, '', 'lingpai/1/stand-in', 32));
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' });
}

/** The public half of a key's pair: 32 bytes in base64url. */
export function publicKeyOf(key: string): string {
  const { x } = createPublicKey(standInKey(key)).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('an Ed25519 key has an x');
  return x;
}
