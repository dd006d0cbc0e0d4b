import { decoded } from './parameters.ts';

/** RFC 9110, 7.6.1: what is said to the next neighbour alone. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
];

/**
 * Host is WeChat's, and the length is told anew. Nothing but the body may wait for a 100. What is to be looked into must not be
 * compressed. Authorization is for the gateway, and trailers of a request go no further.
 */
const NOT_SENT = new Set([
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'expect',
  'accept-encoding',
  'authorization',
  'trailer',
]);

const NOT_ANSWERED = new Set(HOP_BY_HOP);

/** A header's name and value, one after the other, as often as there are headers. */
export type RawHeaders = readonly string[];

/** The headers that go to WeChat. None of them has `credential` in it, plain or encoded. */
export function headersToWeChat(raw: RawHeaders, credential: string): string[] {
  const named = namedByConnection(raw);
  const kept = ['accept-encoding', 'identity'];
  for (const [name, value] of pairs(raw)) {
    const key = name.toLowerCase();
    if (NOT_SENT.has(key) || named.has(key) || holds(value, credential)) continue;
    kept.push(name, value);
  }
  return kept;
}

/** The headers that go to the client, but for the length; each of `secrets` has `***` in its place. */
export function headersToClient(raw: RawHeaders, secrets: readonly string[]): string[] {
  const named = namedByConnection(raw);
  const kept: string[] = [];
  for (const [name, value] of pairs(raw)) {
    const key = name.toLowerCase();
    if (NOT_ANSWERED.has(key) || named.has(key) || key === 'content-length') continue;
    kept.push(name, withoutSecrets(value, secrets));
  }
  return kept;
}

/** The value of a header that stands once; of several the first. Undefined: there is none. */
export function headerOf(raw: RawHeaders, key: string): string | undefined {
  for (const [name, value] of pairs(raw)) if (name.toLowerCase() === key) return value;
  return undefined;
}

/** The text with `***` for each secret, plain or as it stands in an address. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let hidden = text;
  for (const secret of secrets) {
    if (secret === '') continue;
    hidden = hidden.replaceAll(secret, '***').replaceAll(encodeURIComponent(secret.toWellFormed()), '***');
    // Written in another way: then the whole value goes.
    if (decoded(hidden).includes(secret)) return '***';
  }
  return hidden;
}

/** Whether a text has the secret in it, plain or as it stands in an address. */
export function holds(text: string, secret: string): boolean {
  return secret !== '' && (text.includes(secret) || decoded(text).includes(secret));
}

function* pairs(raw: RawHeaders): Generator<[name: string, value: string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) yield [raw[i] ?? '', raw[i + 1] ?? ''];
}

const NONE: ReadonlySet<string> = new Set();

/** The headers that Connection says are for the next neighbour. */
function namedByConnection(raw: RawHeaders): ReadonlySet<string> {
  let named: Set<string> | undefined;
  for (const [name, value] of pairs(raw)) {
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue;
    named ??= new Set();
    for (const option of value.split(',')) named.add(option.trim().toLowerCase());
  }
  return named ?? NONE;
}
