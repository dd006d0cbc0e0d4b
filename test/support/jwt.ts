import { generateKeyPairSync, type JsonWebKey, type KeyObject, sign } from 'node:crypto';

/** A signing key of an issuer. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** As a set of keys has it. */
  readonly jwk: JsonWebKey & { readonly kid: string };
}

/** A new key for RS256. */
export function makeSigningKey(kid: string): SigningKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' } };
}

/** What an issuer serves as its `jwks_uri`. */
export function jwksText(...keys: readonly SigningKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

/**
 * A token with these claims, signed by RS256. `header` replaces parts of the header; a text as claims stands there as it is, and
 * `signer` signs in another way.
 */
export function makeJwt(
  key: SigningKey,
  claims: Readonly<Record<string, unknown>> | string,
  {
    header = {},
    signer = (input) => sign('sha256', Buffer.from(input), key.privateKey),
  }: { header?: Readonly<Record<string, unknown>>; signer?: (input: string) => Buffer } = {},
): string {
  const part = (value: unknown) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const input = `${part({ alg: 'RS256', typ: 'JWT', kid: key.kid, ...header })}.${part(claims)}`;
  return `${input}.${signer(input).toString('base64url')}`;
}
