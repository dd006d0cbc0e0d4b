import { createHash } from 'node:crypto';

/** The name of a token in logs and in speech: the first 12 hexadecimal digits of its value's SHA-256. */
export function tokenId(value: string): string {
  return createHash('sha256').update(value).digest('hex').slice(0, 12);
}
