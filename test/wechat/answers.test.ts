import { describe, expect, test } from 'vitest';
import type { UpstreamError } from '../../src/core/kernel/errors.ts';
import { readGrant, readVerdict } from '../../src/wechat/answers.ts';
import { tokenId } from '../../src/wechat/token-id.ts';
import { expectNoSecret, SECRET, TOKEN } from './support.ts';

/** The error of reading these bytes as a token endpoint's answer. */
function refusal(body: string, status = 200): UpstreamError {
  try {
    readGrant({ status, body, location: '' }, SECRET);
  } catch (error) {
    expectNoSecret(error);
    return error as UpstreamError;
  }
  return expect.fail('it was taken for a token');
}

const granted = (fields: object): string => JSON.stringify({ access_token: TOKEN, expires_in: 7200, ...fields });
const withExpiresIn = (literal: string): string => `{"access_token":"${TOKEN}","expires_in":${literal}}`;

describe('readGrant', () => {
  test.each([
    ['the documented answer', granted({}), 7_200_000],
    ['errcode 0', granted({ errcode: 0, errmsg: 'ok' }), 7_200_000],
    ['a short rest of life', granted({ expires_in: 1 }), 1000],
    ['a whole number written as a fraction', withExpiresIn('7200.0'), 7_200_000],
    ['30 days', granted({ expires_in: 30 * 86400 }), 30 * 86_400_000],
  ])('takes %s', (_, body, lifetimeMs) => {
    expect(readGrant({ status: 200, body, location: '' }, SECRET)).toEqual({
      value: TOKEN,
      id: tokenId(TOKEN),
      lifetimeMs,
    });
  });

  test('takes a token of 2048 characters', () => {
    const value = 'x'.repeat(2048);
    expect(readGrant({ status: 200, body: granted({ access_token: value }), location: '' }, SECRET).value).toBe(value);
  });

  test.each([
    ['an empty body', '', /empty body/],
    ['blanks', ' \r\n', /empty body/],
    ['HTML', `<html><body>${TOKEN}</body></html>`, /HTML/],
    ['a cut answer', granted({}).slice(0, -1), /not whole JSON/],
    ['a cut token', `{"access_token":"${TOKEN}`, /not whole JSON/],
    ['text', `sorry ${TOKEN}`, /not whole JSON/],
    ['two answers', granted({}) + granted({}), /not whole JSON/],
    ['null', 'null', /not an object/],
    ['a list', `[${granted({})}]`, /not an object/],
    ['a string', JSON.stringify(TOKEN), /not an object/],
    ['no token', '{"expires_in":7200}', /without an access_token/],
    ['an empty object', '{}', /without an access_token/],
    ['errcode 0 alone', '{"errcode":0,"errmsg":"ok"}', /without an access_token/],
    ['a token null', granted({ access_token: null }), /not text/],
    ['a token number', granted({ access_token: 5 }), /not text/],
    ['a token object', granted({ access_token: { value: TOKEN } }), /not text/],
    ['an empty token', granted({ access_token: '' }), /empty access_token/],
    ['a long token', granted({ access_token: TOKEN + 'x'.repeat(2048) }), /more than 2048/],
    ['a space in the token', granted({ access_token: `${TOKEN} x` }), /spaces or unprintable/],
    ['a line end after the token', granted({ access_token: `${TOKEN}\n` }), /spaces or unprintable/],
    ['a NUL in the token', granted({ access_token: `${TOKEN}\u0000` }), /spaces or unprintable/],
    ['letters beyond ASCII in the token', granted({ access_token: `${TOKEN}\u4ee4` }), /spaces or unprintable/],
    ['no expires_in', JSON.stringify({ access_token: TOKEN }), /without expires_in/],
    ['expires_in null', granted({ expires_in: null }), /not a number/],
    ['expires_in text', granted({ expires_in: '7200' }), /not a number/],
    ['expires_in list', granted({ expires_in: [7200] }), /not a number/],
    ['expires_in 0', granted({ expires_in: 0 }), /not more than 0/],
    ['expires_in -1', granted({ expires_in: -1 }), /not more than 0/],
    ['expires_in 1.5', granted({ expires_in: 1.5 }), /not a whole number/],
    ['expires_in 1e999', withExpiresIn('1e999'), /not a whole number/],
    ['expires_in NaN', withExpiresIn('NaN'), /not whole JSON/],
    ['expires_in of 30 days and a second', granted({ expires_in: 30 * 86400 + 1 }), /more than 30 days/],
    ['an errcode text', '{"errcode":"40001","errmsg":"x"}', /errcode/],
    ['an errcode null', granted({ errcode: null }), /errcode/],
    ['an errcode fraction', granted({ errcode: 0.5 }), /errcode/],
  ])('refuses %s', (_, body, words) => {
    const error = refusal(body);
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown', recovery: { kind: 'backoff' } });
    expect(error.message).toMatch(words);
    expect(error.message).toMatch(/^WeChat answered /);
  });

  test.each([
    ['HTML', 502, '<html>'],
    ['nothing', 204, ''],
    ['a redirect', 302, ''],
    ['JSON that is no object', 500, '[]'],
    ['JSON of another kind', 503, '{"error":"overloaded"}'],
    ['what would be a token', 500, granted({})],
  ])('refuses %s with HTTP %i', (_, status, body) => {
    const error = refusal(body, status);
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
    expect(error.message).toContain(`WeChat answered HTTP ${status}.`);
  });

  test.each([200, 403, 500])('reads an errcode under HTTP %i', (status) => {
    const body = JSON.stringify({ errcode: 40125, errmsg: `invalid secret ${SECRET} rid: 1-2-3` });
    expect(refusal(body, status)).toMatchObject({
      reason: 'SECRET_INVALID',
      effect: 'refused',
      answer: { errcode: 40125, errmsg: 'invalid secret ***', rid: '1-2-3' },
    });
  });

  test('reads a refusal in whose errmsg control characters stand raw', () => {
    const body =
      '{\r\n\t"errcode":40164,"errmsg":"invalid ip\t203.0.113.7\r\n\u0000\u001b[31m \\"not\\\\\tin\\" whitelist rid: 1-2-3"\n}';
    expect(refusal(body)).toMatchObject({
      reason: 'IP_NOT_ALLOWED',
      effect: 'refused',
      answer: { errcode: 40164, errmsg: 'invalid ip 203.0.113.7 [31m "not\\ in" whitelist', rid: '1-2-3' },
    });
  });

  test.each([
    ['between fields', '{"errcode":40164,\u0001"errmsg":""}'],
    ['after a backslash', '{"errcode":40164,"errmsg":"\\\n"}'],
    ['in text that does not end', '{"errcode":40164,"errmsg":"\n}'],
  ])('refuses a raw control character %s', (_, body) => {
    expect(refusal(body)).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
  });

  test('an errcode beside a token is a refusal, and an errmsg that is not text is left out', () => {
    expect(refusal(granted({ errcode: -1, errmsg: { text: TOKEN } }))).toMatchObject({
      reason: 'UPSTREAM_BUSY',
      answer: { errcode: -1, errmsg: '', rid: '' },
    });
  });
});

describe('readVerdict', () => {
  const verdict = (fields: object, status = 200) =>
    readVerdict({ status, body: JSON.stringify(fields), location: '' }, TOKEN);

  test('accepts with an ip_list', () => {
    expect(verdict({ ip_list: ['203.0.113.1'] })).toEqual({ accepted: true });
    expect(verdict({ ip_list: [], errcode: 0 })).toEqual({ accepted: true });
  });

  test.each([40001, 40014, 42001])('rejects with %i', (errcode) => {
    expect(verdict({ errcode, errmsg: 'invalid credential' })).toEqual({ accepted: false, errcode });
  });

  test.each([
    ['another errcode', { errcode: -1, errmsg: `busy ${TOKEN}` }, 'UPSTREAM_BUSY'],
    ['an errcode of no row', { errcode: 48001, errmsg: 'api unauthorized' }, 'UPSTREAM_ERROR'],
    ['an errcode that is text', { errcode: '40001' }, 'UPSTREAM_MALFORMED'],
    ['an ip_list that is no list', { ip_list: '203.0.113.1' }, 'UPSTREAM_MALFORMED'],
    ['an empty object', {}, 'UPSTREAM_MALFORMED'],
  ])('has no opinion on %s', (_, fields, reason) => {
    const opinion = () => verdict(fields);
    expect(opinion).toThrow(expect.objectContaining({ name: 'UpstreamError', reason }));
    try {
      opinion();
    } catch (error) {
      expectNoSecret(error);
    }
  });

  test('an ip_list under HTTP 500 is no opinion', () => {
    expect(() => verdict({ ip_list: [] }, 500)).toThrow('HTTP 500');
  });
});

test('tokenId is the first 12 hexadecimal digits of the SHA-256', () => {
  expect(tokenId('abc')).toBe('ba7816bf8f01');
});
