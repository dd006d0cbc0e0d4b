import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { certificateBlocks } from '../core/kernel/pem.ts';

/** What is said of one of the files of `tls`. */
export interface TlsFinding {
  readonly file: 'cert' | 'key' | 'client_ca';
  /** What is wrong; then what to write. */
  readonly message: string;
}

const BEGIN_CRL = '-----BEGIN X509 CRL-----';
const CRL =
  'the file has a list of revoked certificates (X509 CRL), which is not looked at; take it out, and name the certificates in access.blocked';
const RENEW = 'put a new one there; it is taken up while the broker runs';

/**
 * What is wrong with the files of `tls`, as far as they could be read. A certificate that is over is a warning only: whoever
 * checks it is not served, and all others would not be either by a broker that does not start.
 */
export function judgeTls(
  { cert, key, clientCa }: Readonly<Record<'cert' | 'key' | 'clientCa', string | undefined>>,
  now: number,
): { readonly problems: readonly TlsFinding[]; readonly warnings: readonly TlsFinding[] } {
  const problems: TlsFinding[] = [];
  const warnings: TlsFinding[] = [];
  const certificatesOf = (file: 'cert' | 'client_ca', text: string | undefined): readonly X509Certificate[] => {
    if (text === undefined) return [];
    const found = certificatesIn(text);
    if (typeof found === 'string') problems.push({ file, message: found });
    return typeof found === 'string' ? [] : found;
  };
  const [own, ...others] = certificatesOf('cert', cert);
  const roots = certificatesOf('client_ca', clientCa);
  const secret = key === undefined ? undefined : privateKeyIn(key);
  if (typeof secret === 'string') problems.push({ file: 'key', message: secret });
  else if (own && secret && !own.checkPrivateKey(secret)) {
    const isLater = others.some((certificate) => certificate.checkPrivateKey(secret));
    const message = isLater
      ? "the certificate of tls.key is not the first one in the file; put the server's own before the others"
      : 'the certificate is not that of tls.key; write two files that belong together';
    problems.push({ file: 'cert', message });
  }
  if (own && typeof secret === 'object' && problems.length === 0) {
    const message = refusalOf([own, ...others], secret);
    if (message !== undefined) problems.push({ file: 'cert', message });
  }
  if (clientCa?.includes(BEGIN_CRL)) problems.push({ file: 'client_ca', message: CRL });
  if (own) warnings.push(...outOfTime(own, 'cert', now));
  // One of several roots that is over is what a rotation leaves.
  if (roots.length > 0 && roots.every((root) => root.validToDate.getTime() < now))
    warnings.push({ file: 'client_ca', message: `every certificate there has expired; ${RENEW}` });
  return { problems, warnings };
}

/** What only OpenSSL objects to, such as a key that is too short; undefined: nothing. */
function refusalOf(chain: readonly X509Certificate[], key: KeyObject): string | undefined {
  try {
    createSecureContext({ cert: chain.join(''), key: key.export({ type: 'pkcs8', format: 'pem' }) });
    return undefined;
  } catch (error) {
    const { reason = 'no more is known' } = error as { readonly reason?: string };
    return `OpenSSL refuses the certificate or its key (${reason}); write others`;
  }
}

/** What is wrong with a text that should have certificates in PEM; undefined: nothing. */
export function adviseOnCertificates(text: string): string | undefined {
  const found = certificatesIn(text);
  return typeof found === 'string' ? found : undefined;
}

function outOfTime(certificate: X509Certificate, file: 'cert', now: number): TlsFinding[] {
  const { validFromDate, validToDate } = certificate;
  if (validToDate.getTime() < now)
    return [{ file, message: `the certificate has expired on ${validToDate.toISOString()}; ${RENEW}` }];
  if (validFromDate.getTime() > now) {
    const message = `the certificate is not valid before ${validFromDate.toISOString()}; set the clock, or ${RENEW}`;
    return [{ file, message }];
  }
  return [];
}

/** The certificates in a text, at least one, in its order; or what is wrong with it. */
function certificatesIn(text: string): readonly X509Certificate[] | string {
  const certificates: X509Certificate[] = [];
  const { blocks, isCut } = certificateBlocks(text);
  const place = (index: number) => `certificate ${index + 1} in the file`;
  for (const [index, block] of blocks.entries()) {
    try {
      certificates.push(new X509Certificate(block));
    } catch {
      return `${place(index)} cannot be read; copy it whole`;
    }
  }
  if (isCut) return `${place(blocks.length)} has no end; copy it whole, down to "-----END CERTIFICATE-----"`;
  if (certificates.length > 0) return certificates;
  if (text.includes('PRIVATE KEY-----')) return 'the file holds a private key and no certificate; name the other one';
  return `the file has no certificate in PEM; it begins with "-----BEGIN CERTIFICATE-----"`;
}

function privateKeyIn(text: string): KeyObject | string {
  if (!text.includes('PRIVATE KEY-----')) return 'the file has no private key in PEM; name the file that has it';
  if (/BEGIN ENCRYPTED |^Proc-Type: .*ENCRYPTED/m.test(text))
    return 'the private key is encrypted; decrypt it: openssl pkey -in FILE -out NEW_FILE';
  try {
    return createPrivateKey(text);
  } catch {
    return 'the private key cannot be read; copy it whole';
  }
}
