import { errors } from 'undici';
import { tlsFault } from '../core/kernel/tls-faults.ts';
import { ProxyFault } from './connection-pool.ts';

/** The other end, as messages name it: never with the proxy's password. */
export interface Place {
  /** WeChat's host and port. */
  readonly host: string;
  /** The proxy's, or null for none. */
  readonly proxy: string | null;
  /** As `WeChatClientOptions`. */
  readonly ignoredProxy: string | null;
}

const IN_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'its name does not resolve',
  EAI_AGAIN: 'its name does not resolve at the moment',
  EHOSTUNREACH: 'no way leads there',
  ENETUNREACH: 'no way leads there',
  ETIMEDOUT: 'no connection came about in time',
  UND_ERR_CONNECT_TIMEOUT: 'no connection came about in time',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  UND_ERR_SOCKET: 'the connection was closed without an answer',
  UND_ERR_PRX_CONN: 'the proxy closed the connection',
  UND_ERR_DESTROYED: 'the broker is shutting down',
};

/** What a proxy that the broker is not told of would spare it. */
const WITHOUT_A_WAY = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Why WeChat was not reached, and what to do. Of the HTTP client's error it shows the code alone: its text may quote what was sent. */
export function unreachable(error: unknown, place: Place): string {
  const { host, proxy } = place;
  const code = codeOf(error);
  const [who, setting] = isOfProxy(error) ? [`the proxy ${proxy}`, 'upstream.proxy'] : [host, 'upstream.base_url'];
  const fault = tlsFault(code, setting);
  if (fault !== undefined) return `WeChat could not be reached at ${nameOf(place)}: ${who} ${fault} (${code}).`;
  const words = isNotHttp(error) ? 'the proxy does not speak HTTP' : (proxyRefusal(error) ?? IN_WORDS[code]);
  const whose = isOfProxy(error) ? 'to the proxy: ' : '';
  const detail = `${whose}${words === undefined ? code : `${words}, ${code}`}`;
  const hint = WITHOUT_A_WAY.has(code) ? hintOf(place) : '';
  return `WeChat could not be reached at ${nameOf(place)} (${detail}).${hint}`;
}

/** That the time was over before there was a connection, and what to do. */
export function noConnection(place: Place): string {
  return `No connection to WeChat at ${nameOf(place)} came about in time.${hintOf(place)}`;
}

/** Whether what came in is none of HTTP. */
export function isNotHttp(error: unknown): boolean {
  return error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError;
}

function nameOf({ host, proxy }: Place): string {
  return proxy === null ? host : `${host} through the proxy ${proxy}`;
}

function hintOf({ ignoredProxy }: Place): string {
  if (ignoredProxy === null) return '';
  return ` ${ignoredProxy} is set in the environment, which Lingpai does not read: write the proxy into upstream.proxy.`;
}

/** The code of an HTTP client's error, or of what caused it; `unknown error` where there is none that can be shown. */
export function codeOf(error: unknown): string {
  if (isOfProxy(error) && error.cause !== undefined) return codeOf(error.cause);
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z0-9_/]{1,64}$/.test(code) ? code : 'unknown error';
}

function isOfProxy(error: unknown): error is Error {
  return error instanceof ProxyFault || error instanceof errors.SecureProxyConnectionError;
}

/** With which status a proxy refused, in words; undefined: it did not. undici says it in its error's text alone. */
export function proxyRefusal(error: unknown): string | undefined {
  const status = error instanceof Error ? /^Proxy [^(]*\((\d{3})\)/.exec(error.message)?.[1] : undefined;
  const advice = status === '407' ? ': write its user and password into upstream.proxy' : '';
  return status && `the proxy answered HTTP ${status}${advice}`;
}
