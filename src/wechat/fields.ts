import type { UpstreamError } from '../core/kernel/errors.ts';
import type { Answer } from './exchange.ts';
import { malformed } from './exchange.ts';

/** The fields that WeChat's answers may have; nothing is known of their types. */
export interface Fields {
  readonly access_token?: unknown;
  readonly expires_in?: unknown;
  readonly ip_list?: unknown;
  readonly msgid?: unknown;
  readonly errcode?: unknown;
  readonly errmsg?: unknown;
}

/**
 * The fields of an answer, which must be a JSON object. Throws the UpstreamError that says what it is instead.
 * `parse` throws on what is not JSON.
 */
export function readFields({ status, body }: Answer, parse: (text: string) => unknown = JSON.parse): Fields {
  let value: unknown;
  try {
    value = parse(body);
  } catch {
    if (status !== 200) throw wrongStatus(status);
    if (body.trim() === '') throw malformed('nothing: an empty body');
    if (/^\s*</.test(body)) throw malformed(`HTML. ${LOOK_BETWEEN}`);
    throw malformed('text that is not whole JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw status === 200 ? malformed('JSON that is not an object') : wrongStatus(status);
}

/** Throws when the answer has an errcode (`toError` says what), or an HTTP status other than 200. */
export function assertOk(
  { status }: Answer,
  { errcode = 0, errmsg }: Fields,
  toError: (errcode: number, errmsg: string) => UpstreamError,
): void {
  if (typeof errcode !== 'number' || !Number.isSafeInteger(errcode))
    throw malformed('with an errcode that is not a whole number');
  if (errcode !== 0) throw toError(errcode, typeof errmsg === 'string' ? errmsg : '');
  if (status !== 200) throw wrongStatus(status);
}

const LOOK_BETWEEN = 'If this lasts, look for a proxy or firewall that answers in its place';

function wrongStatus(status: number): Error {
  return malformed(`HTTP ${status}. ${LOOK_BETWEEN}`);
}
