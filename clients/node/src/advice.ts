/** What an error says where the other side closed the connection at once, as one does that waited for a TLS handshake. */
export const NO_ANSWER = 'the connection was closed without an answer';

/** What Node and OpenSSL call a failed handshake, and what to look at. */
const HANDSHAKES: readonly (readonly [code: RegExp, advice: string])[] = [
  [
    /^(UNABLE_TO_(VERIFY|GET)|DEPTH_ZERO|SELF_SIGNED|CERT_(UNTRUSTED|SIGNATURE|REJECTED|CHAIN)|INVALID_CA)/,
    "give `tls.ca` the file of the CA that signs the broker's certificate",
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'call the broker by a name that stands in its certificate'],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, "look at the broker's certificate, and at the clocks of both machines"],
  [
    /WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH/,
    'what answers does not speak TLS: write http://HOST:PORT',
  ],
  [/ALERT/, 'the broker does not take the client certificate, or wants one: see `tls.cert` and `tls.key`'],
];

/** Why a handshake failed, in a sentence with what to look at. `error`: as node:tls has it. */
export function handshakeWords(error: Error): string {
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  const advice = HANDSHAKES.find(([pattern]) => pattern.test(String(code)))?.[1];
  // OpenSSL's own message has addresses of its memory and files in it.
  return `the TLS handshake failed: ${typeof reason === 'string' ? reason : error.message}${advice ? `; ${advice}` : ''}`;
}

/** grpc-js's words without what it says around them, and with what to look at. `address`: of a channel without TLS. */
export function plainWords(words: string, address: string | undefined): string {
  const inner = words
    .replace(/^No connection established\. (?:Last error: )?(?:Error: )?/, '')
    .replace(/\. Resolution note: .*$/, '');
  if (/^Protocol error/.test(inner)) return "what answers speaks no gRPC: name the broker's gRPC port, 7600 as a rule";
  if (!/^Failed to connect \(/.test(inner)) return inner;
  return address === undefined ? NO_ANSWER : `${NO_ANSWER}: where the broker serves TLS, write https://${address}`;
}

/** Why a file cannot be read: without Node's words for the call, and with its path. */
export function fileWords(option: string, path: string, error: unknown): string {
  return `${option} ${path} cannot be read: ${(error as Error).message.replace(/, \w+(?: '.*')?$/, '')}`;
}
