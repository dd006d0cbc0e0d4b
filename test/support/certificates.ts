import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** A certificate and its private key, in PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate says. */
export interface CertificateOptions {
  /** Its common name; by default `test`. */
  readonly name?: string;
  /** Its subject alternative names, each as it is to stand there, byte for byte: `dns:localhost`, `ip:127.0.0.1`, `uri:spiffe://a/b`. */
  readonly names?: readonly string[];
  /** Who signs it; by default it does so itself. */
  readonly by?: Issued & { readonly name: string };
  readonly isCa?: boolean;
  /** How often the extension of the names stands in it; once by default. */
  readonly repeatNames?: number;
  /** What it may be used for; without, anything. */
  readonly usage?: 'client' | 'server';
  /** Wall-clock milliseconds; by default a day ago and in ten years. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Bytes that say nothing, to make it large. */
  readonly padding?: number;
}

const DAY_MS = 86_400_000;
const ECDSA_SHA256 = '2a8648ce3d040302';
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const COMMON_NAME = '550403';
const ALT_NAMES = '551d11';
const BASIC_CONSTRAINTS = '551d13';
const COMMENT = '6086480186f842010d';
const USAGE = '551d25';
const USAGES = { client: '2b06010505070302', server: '2b06010505070301' } as const;
const TAGS: Readonly<Record<string, number>> = { dns: 0x82, uri: 0x86, ip: 0x87 };

/** Issues a certificate for an EC key of its own. Written by hand, since not every machine that tests has openssl. */
export function issue(options: CertificateOptions = {}): Issued & { readonly name: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { name = 'test', by } = options;
  const algorithm = sequence(oid(ECDSA_SHA256));
  const now = Date.now();
  const body = sequence(
    tlv(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    nameOf(by?.name ?? name),
    sequence(time(options.notBefore ?? now - DAY_MS), time(options.notAfter ?? now + 3_650 * DAY_MS)),
    nameOf(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensionsOf(options))),
  );
  const signer: KeyObject | string = by?.key ?? privateKey;
  const signature = sign('sha256', body, signer);
  const der = sequence(body, algorithm, tlv(0x03, Buffer.from([0]), signature));
  return { name, cert: pem(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** The same certificate with its signature in the other way in which it can be written, which whoever has it can do. */
export function signedOtherwise({ cert, key }: Issued): Issued {
  const der = Buffer.from(cert.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  const algorithm = sequence(oid(ECDSA_SHA256));
  const end = der.lastIndexOf(algorithm);
  // Of a certificate that is longer than 255 bytes the head has four.
  const body = der.subarray(4, end);
  const signature = der.subarray(end + algorithm.length + 3);
  const r = signature.subarray(4, 4 + signature.readUInt8(3));
  const s = BigInt(`0x${signature.subarray(6 + r.length).toString('hex')}`);
  const other = Buffer.from((P256_ORDER - s).toString(16).padStart(64, '0'), 'hex');
  const positive = other.readUInt8(0) < 0x80 ? other : Buffer.concat([Buffer.from([0]), other]);
  const leading = positive.findIndex((byte, i) => byte !== 0 || (positive[i + 1] ?? 0) >= 0x80);
  const rewritten = sequence(integer(r), integer(positive.subarray(leading)));
  return { cert: pem(sequence(body, algorithm, tlv(0x03, Buffer.from([0]), rewritten))), key };
}

function extensionsOf({ names = [], repeatNames = 1, isCa = false, usage, padding = 0 }: CertificateOptions): Buffer[] {
  const extension = (id: string, value: Buffer) => sequence(oid(id), tlv(0x04, value));
  const all = [extension(BASIC_CONSTRAINTS, isCa ? sequence(Buffer.from([1, 1, 0xff])) : sequence())];
  for (let i = 0; names.length > 0 && i < repeatNames; i++)
    all.push(extension(ALT_NAMES, sequence(...names.map(altName))));
  if (usage) all.push(extension(USAGE, sequence(oid(USAGES[usage]))));
  if (padding > 0) all.push(extension(COMMENT, tlv(0x16, Buffer.alloc(padding, 'x'))));
  return all;
}

function altName(text: string): Buffer {
  const colon = text.indexOf(':');
  const [kind, value] = [text.slice(0, colon), text.slice(colon + 1)];
  const tag = TAGS[kind];
  if (tag === undefined) throw new RangeError(`${text} is no alternative name`);
  return tlv(tag, kind === 'ip' ? Buffer.from(value.split('.').map(Number)) : Buffer.from(value, 'latin1'));
}

function tlv(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const digits = length.subarray(length.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length]), digits, content]);
}

function sequence(...contents: Buffer[]): Buffer {
  return tlv(0x30, ...contents);
}

function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

function nameOf(name: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(COMMON_NAME), tlv(0x0c, Buffer.from(name)))));
}

/** GeneralizedTime where a certificate may have it, and UTCTime where it must. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return Number(text.slice(0, 4)) < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
