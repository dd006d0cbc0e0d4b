import { randomBytes } from 'node:crypto';
import { hashOf, idOf, newKey, publicKeyOf } from '../../src/access/key.ts';
import { formatKeys, type StoredKey } from '../../src/access/key-file.ts';

/** A new key and its line of a key file. */
export function makeKey(
  name: string,
  { created = 0, expires = null }: { created?: number; expires?: number | null } = {},
): { readonly key: string; readonly stored: StoredKey; readonly authorization: string } {
  const key = newKey(randomBytes);
  const hash = hashOf(key);
  const stored = { name, id: idOf(hash), created, expires, hash, public: publicKeyOf(key) };
  return { key, stored, authorization: `Bearer ${key}` };
}

/** The text of a key file with these keys. */
export function keyFile(...keys: readonly { readonly stored: StoredKey }[]): string {
  return formatKeys(keys.map(({ stored }) => stored));
}
