import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';

/** What is said of one of the files of `tls`. */
export interface TlsFinding {
  readonly file: 'cert' | 'key' | 'client_ca';
  /** What is wrong; then what to write. */
  readonly message: string;
}

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';
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
  if (own) warnings.push(...outOfTime(own, 'cert', now));
  // One of several roots that is over is what a rotation leaves.
  if (roots.length > 0 && roots.every((root) => root.validToDate.getTime() < now))
    warnings.push({ file: 'client_ca', message: `every certificate there has expired; ${RENEW}` });
  return { problems, warnings };
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
  for (let start = text.indexOf(BEGIN); start !== -1; ) {
    const end = text.indexOf(END, start);
    const place = `certificate ${certificates.length + 1} in the file`;
    if (end === -1) return `${place} has no end; copy it whole, from "${BEGIN}" to "${END}"`;
    try {
      certificates.push(new X509Certificate(text.slice(start, end + END.length)));
    } catch {
      return `${place} cannot be read; copy it whole`;
    }
    start = text.indexOf(BEGIN, end);
  }
  if (certificates.length > 0) return certificates;
  if (text.includes('PRIVATE KEY-----')) return 'the file holds a private key and no certificate; name the other one';
  return `the file has no certificate in PEM; it begins with "${BEGIN}"`;
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
