import { createHmac, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { KEY_BYTES } from './xaes.ts';

/** What a key's text begins with, so that people and scanners of leaks know it. */
const PREFIX = 'lpseal1_';
const CHECK_BYTES = 4;

/** A key that seals records. */
export interface SealKey {
  /** 12 hexadecimal digits that derive from the key and do not show it: what records and people name it by. */
  readonly id: string;
  /** 32 bytes. */
  readonly secret: Buffer;
}

/** A new key's text: the prefix, and the base64url of the key with its CRC32. It is a secret. */
export function newKeyText(): string {
  const secret = randomBytes(KEY_BYTES);
  return PREFIX + Buffer.concat([secret, checkOf(secret)]).toString('base64url');
}

/** The key in the text of a key file, or what is wrong with it and what to do; never with a part of it. */
export function parseKey(text: string): SealKey | { readonly error: string } {
  const line = text.trim();
  if (line === '') return { error: `it is empty; ${MAKE_ONE}` };
  if (/\s/.test(line)) return { error: 'it has more than one line or word; give each key a file of its own' };
  if (!line.startsWith(PREFIX))
    return { error: `it does not begin with "${PREFIX}", so it is no key for a store; ${MAKE_ONE}` };
  const encoded = line.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64url');
  const secret = bytes.subarray(0, KEY_BYTES);
  const isWhole = bytes.length === KEY_BYTES + CHECK_BYTES && bytes.toString('base64url') === encoded;
  if (!isWhole || !checkOf(secret).equals(bytes.subarray(KEY_BYTES)))
    return { error: 'it was changed or cut: its checksum is wrong; copy the whole file again from where it was made' };
  return { id: idOf(secret), secret };
}

const MAKE_ONE = 'make one with "lingpai store key"';

function checkOf(secret: Buffer): Buffer {
  const check = Buffer.alloc(CHECK_BYTES);
  check.writeUInt32BE(crc32(secret));
  return check;
}

function idOf(secret: Buffer): string {
  return createHmac('sha256', secret).update('lingpai/1/seal/id').digest('hex').slice(0, 12);
}
