import { describe, expect, it, test } from 'vitest';
import type { UpstreamReason } from '../../src/core/kernel/errors.ts';
import { clearBySecretError, operatorError } from '../../src/wechat/operator-errcodes.ts';
import { readCleared, readQuota, readRequest } from '../../src/wechat/operators.ts';

const TOKEN = '77_the-token-value-itself';
const answer = (body: unknown) => ({ status: 200, location: '', body: JSON.stringify(body) });
const OK = { errcode: 0, errmsg: 'ok' };

describe('quota/get', () => {
  it('is read', () => {
    const quota = { daily_limit: 10_000_000, used: 5, remain: 9_999_995 };
    expect(readQuota(answer({ ...OK, quota }), [TOKEN])).toEqual({
      dailyLimit: 10_000_000,
      used: 5,
      remain: 9_999_995,
    });
  });

  it.each([
    ['no quota', OK],
    ['a list', { ...OK, quota: [] }],
    ['text', { ...OK, quota: { daily_limit: '1', used: 0, remain: 0 } }],
    ['less than nothing', { ...OK, quota: { daily_limit: 1, used: -1, remain: 0 } }],
    ['a part', { ...OK, quota: { daily_limit: 1, used: 0.5, remain: 0 } }],
  ])('%s is malformed', (_, body) => {
    expect(() => readQuota(answer(body), [TOKEN])).toThrow(expect.objectContaining({ reason: 'UPSTREAM_MALFORMED' }));
  });
});

describe('clear_quota', () => {
  it('is told in WeChat’s words, without what it was asked by', () => {
    const body = { errcode: 0, errmsg: `ok ${TOKEN}, 9 times left rid: 1-2-3` };
    expect(readCleared(answer(body), 'token', [TOKEN])).toEqual({ errmsg: 'ok ***, 9 times left' });
    expect(() => readCleared(answer({}), 'token', [TOKEN])).toThrow('without an errcode');
  });
});

const ERRORS: readonly (readonly ['quota' | 'clear_quota' | 'rid', number, UpstreamReason, RegExp])[] = [
  ['quota', 40001, 'TOKEN_REFUSED', /refuses the access_token/],
  ['clear_quota', 42001, 'TOKEN_REFUSED', /refuses the access_token/],
  ['rid', 40014, 'TOKEN_REFUSED', /refuses the access_token/],
  ['quota', 45009, 'DAILY_QUOTA_EXHAUSTED', /this very call/],
  ['rid', 45011, 'MINUTE_QUOTA_EXHAUSTED', /minute/],
  ['rid', 48001, 'INTERFACE_NOT_GRANTED', /may not/],
  ['clear_quota', 48006, 'QUOTA_CLEARS_EXHAUSTED', /10 times this month/],
  ['clear_quota', 40013, 'APP_ID_INVALID', /another app's/],
  ['quota', 76003, 'CGI_PATH_INVALID', /begins with a slash/],
  ['quota', 76021, 'CGI_PATH_INVALID', /no call of this path/],
  ['quota', 76022, 'CGI_PATH_INVALID', /\/sns\//],
  ['rid', 76001, 'RID_UNKNOWN', /no call of this rid/],
  ['rid', 76002, 'RID_UNKNOWN', /no rid/],
  ['rid', 76003, 'RID_UNKNOWN', /another app's call/],
  ['rid', 76004, 'RID_UNKNOWN', /older than 7 days/],
  ['rid', 76022, 'RID_UNKNOWN', /\/sns\//],
  ['rid', -1, 'UPSTREAM_BUSY', /busy/],
  ['quota', 50004, 'ACCOUNT_CLOSED', /closed/],
  ['quota', 99999, 'UPSTREAM_ERROR', /refused/],
];

test.each(ERRORS)('%s %i is %s', (call, errcode, reason, words) => {
  const error = operatorError(call)(errcode, 'as it is rid: 1-2-3', []);
  expect(error).toMatchObject({ reason, effect: 'refused', answer: { errcode, errmsg: 'as it is', rid: '1-2-3' } });
  expect(error.message).toMatch(words);
});

test('clear_quota/v2 is refused as token calls are, and when the month is spent', () => {
  expect(clearBySecretError(48006, '').reason).toBe('QUOTA_CLEARS_EXHAUSTED');
  expect(clearBySecretError(40125, '').reason).toBe('SECRET_INVALID');
  expect(clearBySecretError(40243, '').reason).toBe('SECRET_FROZEN');
});

describe('rid/get', () => {
  const SECRET = '0123456789abcdef0123456789abcdef';
  const OPENID = 'oABCD-efghijklmnopqrstuvwxyz1';
  const request = (more: object) => ({ ...OK, request: { invoke_time: 1_635_927_298, cost_in_ms: 30, ...more } });
  const read = (more: object) => readRequest(answer(request(more)), [SECRET, TOKEN]);

  it('is read as WeChat’s documentation shows it', () => {
    const known = read({
      request_url: 'access_token=50_Im7xxxx',
      request_body: '',
      response_body: '{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 617b4e6d-1a2b3c4d-5e6f7081"}',
      client_ip: '113.xx.70.51',
    });
    expect(known).toEqual({
      invokeTime: 1_635_927_298_000,
      costMs: 30,
      url: 'access_token=***',
      clientIp: '113.xx.70.51',
      errcode: 45009,
      errmsg: 'reach max api daily quota limit',
    });
  });

  it.each([
    [
      'https://api.weixin.qq.com/cgi-bin/menu/get?access_token=abc&openid=o1',
      '/cgi-bin/menu/get?access_token=***&openid=***',
    ],
    ['/cgi-bin/menu/get', '/cgi-bin/menu/get'],
    ['appid=wx1&secret=abc&js_code=c', 'appid=***&secret=***&js_code=***'],
    [`/cgi-bin/${OPENID}/x?a=b`, '/cgi-bin/***/x?a=***'],
    [TOKEN, ''],
    ['/a<script>?x=1', 'x=***'],
    ['access_token=a&=b&%41=c', 'access_token=***'],
  ])('of the URL "%s" the path and the names stay', (url, shown) => {
    expect(read({ request_url: url }).url).toBe(shown);
  });

  it.each([
    ['the token', `bad ${TOKEN}`, {}],
    ['the secret', `bad ${SECRET}`, {}],
    ['an openid, whoever it is', `bad ${OPENID}`, {}],
    ['what the query had', 'bad code7', { request_url: 'js_code=code7' }],
    ['what the query had, decoded', 'bad a/b c', { request_url: 'x=a%2Fb+c' }],
    ['the beginning of a token', 'bad 50_Im7', { request_url: 'access_token=50_Im7xxxx' }],
    ['what the body had', 'bad oUser1', { request_body: '{"touser":"oUser1","n":1}' }],
    ['what the body had, escaped', 'bad "é"', { request_body: '{"a":"\\"\\u00e9\\""}' }],
    ['what a body had that is cut off', 'bad oUser1', { request_body: '{"touser":"oUser1' }],
    ['a number', 'bad 13800138000', { request_body: '{"phone":13800138000}' }],
    ['a form', 'bad oUser1', { request_body: 'touser=oUser1&x=y' }],
  ])('of the errmsg %s is left out', (_, errmsg, more) => {
    const { errmsg: shown, errcode } = read({ ...more, response_body: JSON.stringify({ errcode: 47003, errmsg }) });
    expect([shown, errcode]).toEqual(['bad ***', 47003]);
  });

  it('the names of the body’s fields stay', () => {
    const response_body = '{"errcode":47003,"errmsg":"data.thing1.value is invalid"}';
    expect(read({ request_body: '{"data":{"thing1":{"value":"Tea"}}}', response_body }).errmsg).toBe(
      'data.thing1.value is invalid',
    );
  });

  it('what is too much to look through shows the errcode alone', () => {
    const response_body = JSON.stringify({ errcode: 1, errmsg: 'words' });
    expect(read({ request_body: '"a",'.repeat(12_000), response_body })).toMatchObject({ errcode: 1, errmsg: '' });
    const long = JSON.stringify({ errcode: 2, errmsg: 'a '.repeat(2_000) });
    expect(read({ response_body: long })).toMatchObject({ errcode: 2, errmsg: '' });
    read({ request_body: '"'.concat('\\"'.repeat(25_000)), response_body });
    read({ request_url: '&='.repeat(25_000), response_body });
  });

  it.each([
    ['nothing', {}, { errcode: null, errmsg: '' }],
    ['HTML', { response_body: '<html>' }, { errcode: null, errmsg: '' }],
    ['an errcode that is none', { response_body: '{"errcode":"1"}' }, { errcode: null }],
    ['a time in milliseconds', { invoke_time: 1_635_927_298_000 }, { invokeTime: null }],
    ['a time in text', { invoke_time: 'now', cost_in_ms: -1 }, { invokeTime: null, costMs: null }],
    ['an address that is none', { client_ip: '<b>' }, { clientIp: '' }],
  ])('%s is put up with', (_, more, known) => {
    expect(read(more)).toMatchObject(known);
  });

  it('without a request is malformed', () => {
    expect(() => readRequest(answer(OK), [])).toThrow(expect.objectContaining({ reason: 'UPSTREAM_MALFORMED' }));
  });
});
