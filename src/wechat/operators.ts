import type { CallQuota, KnownRequest } from '../core/operators/ports.ts';
import { splitRid, upstreamAnswer } from './errmsg.ts';
import type { Answer } from './exchange.ts';
import { assertOk, readFields } from './fields.ts';
import { malformed } from './malformed.ts';
import { clearBySecretError, operatorError } from './operator-errcodes.ts';

/** What quota/get says. Throws the UpstreamError that says why it does not. */
export function readQuota(answer: Answer, secrets: readonly string[]): CallQuota {
  const fields = readFields(answer, secrets);
  assertOk(answer, fields, secrets, operatorError('quota'));
  const { daily_limit, used, remain } = mapIn(fields.quota);
  return { dailyLimit: count(daily_limit), used: count(used), remain: count(remain) };
}

/** What clear_quota says, by a token or by the AppSecret. */
export function readCleared(
  answer: Answer,
  by: 'token' | 'secret',
  secrets: readonly string[],
): { readonly errmsg: string } {
  const fields = readFields(answer, secrets);
  assertOk(answer, fields, secrets, by === 'token' ? operatorError('clear_quota') : clearBySecretError);
  if (fields.errcode === undefined) throw malformed('without an errcode');
  const { errmsg } = upstreamAnswer(0, textIn(fields.errmsg), secrets);
  return { errmsg };
}

/** What rid/get says, without whatever the call had carried. `secrets`: what must not be shown besides. */
export function readRequest(answer: Answer, secrets: readonly string[]): KnownRequest {
  const fields = readFields(answer, secrets);
  assertOk(answer, fields, secrets, operatorError('rid'));
  const { invoke_time, cost_in_ms, request_url, request_body, response_body, client_ip } = mapIn(fields.request);
  const url = textIn(request_url);
  const carried = [...secrets, ...valuesOfQuery(url), ...textsOf(textIn(request_body))];
  return {
    invokeTime: isTime(invoke_time) ? invoke_time * 1_000 : null,
    costMs: isCount(cost_in_ms) && cost_in_ms <= MAX_COST_MS ? cost_in_ms : null,
    url: maskedUrl(url),
    // WeChat itself may mask a part of it with x.
    clientIp: /^[\da-fx.:]{2,45}$/i.test(textIn(client_ip)) ? textIn(client_ip) : '',
    ...response(textIn(response_body), carried),
  };
}

/** What stands for something that is not shown. */
const MASK = '***';
/** A day. */
const MAX_COST_MS = 86_400_000;
/** The year 2286: what is later are milliseconds. */
const MAX_SECONDS = 10_000_000_000;
/** A request with more of them is not looked through: of its answer the errcode alone is shown. */
const MAX_CARRIED = 500;
const MAX_ERRMSG = 2_000;
const MAX_PATH = 256;
const MAX_QUERY_NAMES = 20;
/** What is as long may be a token, a secret (32), an openid (28) or a template's id (43). */
const LONG_WORD = /[\w+/=-]{20,}/g;

/** WeChat's documentation shows the query alone: "access_token=50_Im7xxxx". */
function maskedUrl(url: string): string {
  const [path = '', query = ''] = url.includes('?') ? cutAt(url, '?') : /^(?:\/|https?:)/.test(url) ? [url] : ['', url];
  const at = path.replace(/^https?:\/\/[^/]*/, '');
  const shown = /^\/[\w/.-]*$/.test(at) && at.length <= MAX_PATH ? at.replace(LONG_WORD_IN_PATH, MASK) : '';
  const names = query
    .split('&', MAX_QUERY_NAMES)
    .map((pair) => cutAt(pair, '=')[0])
    .filter((name) => /^\w{1,40}$/.test(name) && !name.match(LONG_WORD_WHOLE));
  const masked = names.map((name) => `${name}=${MASK}`).join('&');
  return masked === '' ? shown : shown === '' ? masked : `${shown}?${masked}`;
}

/** A part of a path that may be one: WeChat's own paths have none that is as long. */
const LONG_WORD_IN_PATH = /[\w-]{28,}/g;
const LONG_WORD_WHOLE = /^\w{28,}$/;

function response(
  body: string,
  carried: readonly string[],
): { readonly errcode: number | null; readonly errmsg: string } {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return { errcode: null, errmsg: '' };
  }
  const { errcode, errmsg } = mapIn(answer);
  const isKnown = typeof errcode === 'number' && Number.isInteger(errcode) && Math.abs(errcode) < 2 ** 31;
  const { text } = splitRid(textIn(errmsg));
  const isShown = text.length <= MAX_ERRMSG && carried.length <= MAX_CARRIED;
  const shown = isShown ? upstreamAnswer(0, text, carried).errmsg.replace(LONG_WORD, MASK) : '';
  return { errcode: isKnown ? errcode : null, errmsg: shown };
}

/** The values in a query, as they stand there and decoded. */
function valuesOfQuery(url: string): string[] {
  const query = url.includes('?') ? (cutAt(url, '?')[1] ?? '') : url;
  return query.split('&', MAX_CARRIED + 1).flatMap((pair) => {
    const value = cutAt(pair, '=')[1] ?? '';
    // WeChat shows the beginning of a token and then xxxx.
    return [value, ...new URLSearchParams(`v=${value}`).values(), value.replace(/x{2,}$/, '')];
  });
}

/** The texts within JSON that may be cut off, without the names of fields; of what is no JSON, its words. */
function textsOf(body: string): string[] {
  const texts = [...body.matchAll(/"((?:[^"\\]|\\.)*)("?)(\s*:)?/gs)]
    .filter(([, , , colon]) => colon === undefined)
    .map(([, text = '']) => text);
  const numbers = body.match(/\d{6,}/g) ?? [];
  const words = body.includes('"') ? [] : body.split(/[\s&=]+/);
  return [...texts.flatMap((text) => [text, decoded(text)]), ...numbers, ...words].slice(0, MAX_CARRIED + 1);
}

function decoded(text: string): string {
  try {
    return JSON.parse(`"${text}"`);
  } catch {
    return text;
  }
}

function cutAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + mark.length)];
}

function mapIn(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw malformed('without what it was asked for');
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function count(value: unknown): number {
  if (isCount(value)) return value;
  throw malformed('with a quota that is not whole numbers');
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isTime(value: unknown): value is number {
  return isCount(value) && value > 0 && value < MAX_SECONDS;
}
