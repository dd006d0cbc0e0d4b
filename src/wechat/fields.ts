import type { UpstreamError } from '../core/kernel/errors.ts';
import { escapeControlCharacters } from './control-characters.ts';
import type { Answer } from './exchange.ts';
import { malformed } from './malformed.ts';
import { redact } from './redact.ts';

/** The fields that WeChat's answers may have; nothing is known of their types. */
export interface Fields {
  readonly access_token?: unknown;
  readonly ticket?: unknown;
  readonly expires_in?: unknown;
  readonly ip_list?: unknown;
  readonly msgid?: unknown;
  readonly errcode?: unknown;
  readonly errmsg?: unknown;
}

/**
 * The fields of an answer, which must be a JSON object; raw control characters in it are put up with, for a refusal that
 * cannot be read would be one of unknown effect. Throws the UpstreamError that says what it is instead.
 * None of its errors shows one of `secrets`. `parse` throws on what is not JSON.
 */
export function readFields(
  answer: Answer,
  secrets: readonly string[],
  parse: (text: string) => unknown = JSON.parse,
): Fields {
  const { status, body } = answer;
  let value: unknown;
  try {
    value = parseTwice(body, parse);
  } catch {
    if (status !== 200) throw wrongStatus(answer, secrets);
    if (body.trim() === '') throw malformed('nothing: an empty body');
    if (/^\s*</.test(body)) throw malformed(`HTML. ${LOOK_BETWEEN}`);
    throw malformed('text that is not whole JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw status === 200 ? malformed('JSON that is not an object') : wrongStatus(answer, secrets);
}

function parseTwice(text: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text);
  } catch {
    return parse(escapeControlCharacters(text));
  }
}

/** Throws when the answer has an errcode (`toError` says what), or an HTTP status other than 200. No error shows one of `secrets`. */
export function assertOk(
  answer: Answer,
  { errcode = 0, errmsg }: Fields,
  secrets: readonly string[],
  toError: (errcode: number, errmsg: string, secrets: readonly string[]) => UpstreamError,
): void {
  if (typeof errcode !== 'number' || !Number.isSafeInteger(errcode))
    throw malformed('with an errcode that is not a whole number');
  if (errcode !== 0) throw toError(errcode, typeof errmsg === 'string' ? errmsg : '', secrets);
  if (answer.status !== 200) throw wrongStatus(answer, secrets);
}

/** The most that is shown of where a redirect leads. */
const MAX_TARGET = 200;

const LOOK_BETWEEN = 'If this lasts, look for a proxy or firewall that answers in its place';

function wrongStatus({ status, location }: Answer, secrets: readonly string[]): UpstreamError {
  const target = status >= 300 && status < 400 ? redirectTarget(location, secrets) : '';
  if (target === '') return malformed(`HTTP ${status}. ${LOOK_BETWEEN}`);
  return malformed(
    `HTTP ${status}, a redirect to ${target}, which is not followed. If WeChat is there, correct upstream.base_url. ${LOOK_BETWEEN}`,
  );
}

/** Where a Location header leads, without its query, which may repeat the request's; empty: nowhere. */
function redirectTarget(location: string, secrets: readonly string[]): string {
  const here = 'http://here.invalid';
  const url = location === '' ? null : URL.parse(location, here);
  if (url === null || !/^https?:$/.test(url.protocol)) return '';
  const target = redact((url.origin === here ? '' : url.origin) + url.pathname, secrets);
  return target.length <= MAX_TARGET ? target : `${target.slice(0, MAX_TARGET)}...`;
}
