import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A certificate and its key, in PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface CertificateOptions {
  readonly subject?: string;
  /** GeneralNames: `uri` and `dns` as they stand there, byte for byte. */
  readonly names?: readonly (
    | { readonly uri: string }
    | { readonly dns: string }
    | { readonly ip: readonly number[] }
  )[];
  /** How often the extension of the names stands in it. */
  readonly repeatNames?: number;
  /** Who signs it; without, it signs itself. */
  readonly issuer?: Pair & { readonly subject: string };
  readonly isCa?: boolean;
  /** What it may be used for; without, anything. */
  readonly usage?: 'client' | 'server';
  readonly notBefore?: number;
  readonly notAfter?: number;
}

const DAY_MS = 86_400_000;

/** Makes a certificate of P-256, in DER of its own making, so that hostile ones need no tool. Valid from yesterday for 30 days. */
export function makeCertificate(options: CertificateOptions = {}): Pair & { readonly subject: string } {
  const { subject = 'test', names = [], repeatNames = 1, issuer, isCa = false, usage } = options;
  const { notBefore = Date.now() - DAY_MS, notAfter = Date.now() + 30 * DAY_MS } = options;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const signer: KeyObject = issuer ? createPrivateKey(issuer.key) : privateKey;
  const extensions = [
    ...(isCa ? [extension('551d13', sequence(der(0x01, Buffer.from([0xff]))))] : []),
    ...(usage
      ? [extension('551d25', sequence(oid(usage === 'client' ? '2b06010505070302' : '2b06010505070301')))]
      : []),
    ...Array.from({ length: names.length > 0 ? repeatNames : 0 }, () =>
      extension('551d11', sequence(...names.map(generalName))),
    ),
  ];
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.from([1, ...Buffer.from(String(serial++))])),
    SHA256_ECDSA,
    commonName(issuer?.subject ?? subject),
    sequence(time(notBefore), time(notAfter)),
    commonName(subject),
    publicKey.export({ format: 'der', type: 'spki' }),
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = sign('sha256', body, signer);
  const certificate = sequence(body, SHA256_ECDSA, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n');
  return {
    subject,
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
  };
}

let serial = 1;

const SHA256_ECDSA = sequence(oid('2a8648ce3d040302'));

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))));
}

function time(ms: number): Buffer {
  return der(0x18, Buffer.from(`${new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '')}Z`));
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), der(0x04, value));
}

function generalName(name: { uri: string } | { dns: string } | { ip: readonly number[] }): Buffer {
  if ('uri' in name) return der(0x86, Buffer.from(name.uri, 'latin1'));
  return 'dns' in name ? der(0x82, Buffer.from(name.dns, 'latin1')) : der(0x87, Buffer.from(name.ip));
}
