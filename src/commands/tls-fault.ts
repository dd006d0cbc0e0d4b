const UNTRUSTED =
  "the broker's certificate is not signed by a CA that is trusted here: name the file of the one that signs it with --ca (or LINGPAI_CA)";
const REFUSED =
  'the other side does not take the client certificate, or wants one: see --cert and --cert-key, and tls.client_ca at the broker';

const FAILED = 'the TLS handshake failed';
const SHOWN = 200;

/** What Node and OpenSSL call it, and what it means for who calls. */
const FAULTS: readonly (readonly [code: RegExp, words: string])[] = [
  [/^(UNABLE_TO_(VERIFY|GET)|DEPTH_ZERO|SELF_SIGNED|CERT_(UNTRUSTED|SIGNATURE|REJECTED|CHAIN)|INVALID_CA)/, UNTRUSTED],
  [
    /^CERT_HAS_EXPIRED$/,
    "the broker's certificate has expired, or one that signs it: renew it (tls.cert); or the clock of this machine is wrong",
  ],
  [/^CERT_NOT_YET_VALID$/, "the broker's certificate is not valid yet: look at the clocks of both machines"],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    "the broker's certificate is made out to another name: call it by one that stands in it, or have it name this one too",
  ],
  [
    /WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH/,
    'what answers does not speak TLS: write --addr http://HOST:PORT, or name the port that does',
  ],
  [/NO_APPLICATION_PROTOCOL/, 'what answers speaks TLS and no gRPC: name the gRPC port of the broker'],
  [/ALERT_(CERTIFICATE|BAD_CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE)|ALERT_.*CERTIFICATE/, REFUSED],
  [/^ERR_SSL_|^ERR_TLS_/, FAILED],
];

/** Why a handshake failed, in a sentence with what to do; undefined: it was something else. `error`: as node:tls has it. */
export function tlsFault(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const words = FAULTS.find(([pattern]) => pattern.test(code))?.[1];
  if (words === undefined) return undefined;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `${words} (${namesIn(error)})`;
  return words === FAILED ? `${words} (${code})` : words;
}

/** The names that a certificate is made out to, as node:tls tells of them. */
function namesIn(error: unknown): string {
  const { cert } = error as { cert?: { subjectaltname?: string } };
  return cert?.subjectaltname?.slice(0, SHOWN) ?? 'it names none';
}
