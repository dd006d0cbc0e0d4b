import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

// Node verifies and signs, and makes no certificates. What a test's server needs of X.509 is a page of DER; a dependency would
// be larger than all of the sandbox.

/** A certificate with its key, and the authority that vouches for it; all PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** What a client is to trust. Its key is nowhere: it signed this one certificate. */
  readonly ca: string;
}

const DAY_MS = 86_400_000;
/** What clients of any kind take. */
const LIFE_MS = 397 * DAY_MS;

/** Makes a certificate for these names and addresses, under an authority of its own: ECDSA P-256, from a day ago for 13 months. */
export function makeCertificate(names: readonly string[], now: number): Certificate {
  const [authority, leaf] = [newKeys(), newKeys()];
  const issuer = nameOf('Lingpai sandbox CA');
  const span = { from: now - DAY_MS, until: now + LIFE_MS };
  const ca = certificate({
    ...span,
    issuer,
    subject: issuer,
    subjectKey: authority.publicKey,
    signer: authority.privateKey,
    extensions: [
      extension(OID.basicConstraints, sequence(TRUE), true),
      // keyCertSign and cRLSign.
      extension(OID.keyUsage, der(0x03, Buffer.from([1, 0x06])), true),
      extension(OID.subjectKeyIdentifier, der(0x04, keyId(authority.publicKey))),
    ],
  });
  const cert = certificate({
    ...span,
    issuer,
    subject: nameOf('Lingpai sandbox'),
    subjectKey: leaf.publicKey,
    signer: authority.privateKey,
    extensions: [
      extension(OID.basicConstraints, sequence(), true),
      // digitalSignature.
      extension(OID.keyUsage, der(0x03, Buffer.from([7, 0x80])), true),
      extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth))),
      extension(OID.subjectAltName, sequence(...names.map(altName))),
      // Strict clients (Python 3.13) want both.
      extension(OID.subjectKeyIdentifier, der(0x04, keyId(leaf.publicKey))),
      extension(OID.authorityKeyIdentifier, sequence(der(0x80, keyId(authority.publicKey)))),
    ],
  });
  return { cert, key: String(leaf.privateKey.export({ type: 'pkcs8', format: 'pem' })), ca };
}

const OID = {
  commonName: [0x55, 0x04, 0x03],
  subjectKeyIdentifier: [0x55, 0x1d, 0x0e],
  keyUsage: [0x55, 0x1d, 0x0f],
  subjectAltName: [0x55, 0x1d, 0x11],
  basicConstraints: [0x55, 0x1d, 0x13],
  authorityKeyIdentifier: [0x55, 0x1d, 0x23],
  extendedKeyUsage: [0x55, 0x1d, 0x25],
  serverAuth: [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
  ecdsaWithSha256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
} as const;

interface Fields {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly subjectKey: KeyObject;
  readonly signer: KeyObject;
  readonly from: number;
  readonly until: number;
  readonly extensions: readonly Buffer[];
}

function certificate({ issuer, subject, subjectKey, signer, from, until, extensions }: Fields): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const serial = randomBytes(16);
  // A positive number of the full length.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    issuer,
    sequence(time(from), time(until)),
    subject,
    subjectKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', signed, signer);
  const whole = sequence(signed, algorithm, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function newKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const TRUE = der(0x01, Buffer.of(0xff));

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function oid(bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

function nameOf(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime, as it is to be until 2049. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

function extension(id: readonly number[], value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [TRUE] : []), der(0x04, value));
}

function altName(name: string): Buffer {
  if (isIPv4(name)) return der(0x87, Buffer.from(name.split('.').map(Number)));
  return isIPv6(name) ? der(0x87, bytesOf(name)) : der(0x82, Buffer.from(name));
}

/** The 16 bytes of an IPv6 address, as the URL parser writes it: one "::" at most, and no dots. */
function bytesOf(address: string): Buffer {
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = [], tail = []] = plain.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const groups = plain.includes('::') ? [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail] : head;
  return Buffer.from(
    groups.flatMap((group: string) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  );
}
