import { describe, expect, test } from 'vitest';
import type { Recovery, UpstreamError, UpstreamReason } from '../../src/core/kernel/errors.ts';
import { messageError, probeError, TOKEN_REFUSED, tokenError } from '../../src/wechat/errcodes.ts';

const BACKOFF: Recovery = { kind: 'backoff' };
const minutes = (count: number): Recovery => ({ kind: 'pause', ms: count * 60_000 });

const TABLE: readonly (readonly [number, UpstreamReason, Recovery, RegExp])[] = [
  [-1, 'UPSTREAM_BUSY', BACKOFF, /busy/],
  [40001, 'SECRET_INVALID', minutes(5), /AppSecret.*configuration/],
  [40125, 'SECRET_INVALID', minutes(5), /AppSecret.*configuration/],
  [40013, 'APP_ID_INVALID', minutes(5), /`app_id`/],
  [41002, 'APP_ID_INVALID', minutes(5), /`app_id`/],
  [41004, 'UPSTREAM_REQUEST_INVALID', minutes(5), /upstream\.base_url/],
  [40002, 'UPSTREAM_REQUEST_INVALID', minutes(5), /upstream\.base_url/],
  [43002, 'UPSTREAM_REQUEST_INVALID', minutes(5), /upstream\.base_url/],
  [40164, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  [61004, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  [40243, 'SECRET_FROZEN', minutes(5), /Unfreeze/],
  [50004, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [50007, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [50002, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [48004, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [89501, 'CONFIRMATION_REQUIRED', minutes(10), /administrator.*confirm/],
  [89503, 'CONFIRMATION_REQUIRED', minutes(10), /administrator.*confirm/],
  [89507, 'CONFIRMATION_REFUSED', minutes(60), /refused.*1 hour/],
  [89506, 'CONFIRMATION_REFUSED', minutes(24 * 60), /refused.*24 hours/],
  [45009, 'DAILY_QUOTA_EXHAUSTED', { kind: 'daily_quota' }, /15 minutes.*clear_quota,.*clear_quota\/v2/],
  [45011, 'MINUTE_QUOTA_EXHAUSTED', { kind: 'minute_quota' }, /minute/],
  [48001, 'UPSTREAM_ERROR', BACKOFF, /refused/],
  [42001, 'UPSTREAM_ERROR', BACKOFF, /refused/],
  [99999, 'UPSTREAM_ERROR', BACKOFF, /refused/],
];

/** That an errcode gives the error of its row. */
function expectRow(toError: (errcode: number, errmsg: string) => UpstreamError) {
  return (errcode: number, reason: UpstreamReason, recovery: Recovery, words: RegExp) => {
    const error = toError(errcode, 'as it is rid: 5f0e1a2b-3c4d5e6f-708192a3');
    expect(error).toMatchObject({
      reason,
      recovery,
      effect: 'refused',
      answer: { errcode, errmsg: 'as it is', rid: '5f0e1a2b-3c4d5e6f-708192a3' },
    });
    expect(error.message).toMatch(words);
    expect(error.message).toContain(`(errcode ${errcode}, as it is, rid 5f0e1a2b-3c4d5e6f-708192a3)`);
  };
}

describe('tokenError', () => {
  test.each(TABLE)('%i is %s', expectRow(tokenError));

  test.each([
    ['invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1-2-3', '203.0.113.7'],
    ['access clientip is not registered, requestIP:203.0.113.8', '203.0.113.8'],
    ['invalid ip 2001:db8::7, not in whitelist', '2001:db8::7'],
  ])('names the IP address of "%s"', (errmsg, ip) => {
    expect(tokenError(40164, errmsg).message).toContain(`Add ${ip} in the WeChat console`);
  });

  test.each([
    ['no rid', 'no rid here', 'no rid here', ''],
    ['nothing', '', '', ''],
    ['a rid alone', 'rid: 1a-2b-3c', '', '1a-2b-3c'],
    ['a comma before the rid', 'invalid appid, rid: 1a-2b-3c ', 'invalid appid', '1a-2b-3c'],
    ['a rid that is not at the end', 'rid: 1a-2b is first', 'rid: 1a-2b is first', ''],
    ['control characters', 'two\r\nlines\u0000and\u001b[31m color', 'two lines and [31m color', ''],
    ['line ends of Unicode', 'two\u2028lines\u2029and\u202ebackwards\ud800', 'two lines and backwards', ''],
    ['a character across its end', `${'x'.repeat(299)}😀`, 'x'.repeat(299), ''],
    ['blanks between rid and its end', 'no, ;\t\r\n rid:  1a-2b-3c \n', 'no', '1a-2b-3c'],
    ['a word that ends in rid', 'grid: 1a-2b-3c', 'grid: 1a-2b-3c', ''],
    ['5000 characters', `${'x'.repeat(5000)} rid: 1a-2b-3c`, 'x'.repeat(300), '1a-2b-3c'],
  ])('cleans an errmsg with %s', (_, raw, errmsg, rid) => {
    expect(tokenError(40013, raw).answer).toEqual({ errcode: 40013, errmsg, rid });
  });

  test('takes secrets out of errmsg, as they are and percent-encoded, before it is cut', () => {
    const secret = 'a/b c';
    const near = 'x'.repeat(297);
    expect(tokenError(40125, 'secret a/b c or a%2Fb%20c', [secret, '']).answer?.errmsg).toBe('secret *** or ***');
    expect(tokenError(40125, near + secret, [secret]).message).not.toContain('a/b');
  });
});

const NEVER: Recovery = { kind: 'never' };

const MESSAGE_TABLE: readonly (readonly [number, UpstreamReason, Recovery, RegExp])[] = [
  [-1, 'UPSTREAM_BUSY', BACKOFF, /busy/],
  [40001, 'TOKEN_REFUSED', BACKOFF, /access_token/],
  [40014, 'TOKEN_REFUSED', BACKOFF, /access_token/],
  [42001, 'TOKEN_REFUSED', BACKOFF, /access_token/],
  [40003, 'OPENID_INVALID', NEVER, /openid in `to_user`/],
  [40037, 'TEMPLATE_ID_INVALID', NEVER, /`template_id`.*console/],
  [41030, 'PAGE_INVALID', NEVER, /`page`/],
  [40165, 'PAGE_INVALID', NEVER, /URL of the page.*`subscription_notice`/],
  [20002, 'MESSAGE_REFUSED', NEVER, /parameter of the message wrong/],
  [47003, 'DATA_INVALID', NEVER, /`data`.*kind and length/],
  [43004, 'USER_NOT_SUBSCRIBED', NEVER, /does not follow/],
  [43107, 'USER_OPTED_OUT', NEVER, /switched .* off/],
  [41028, 'FORM_ID_INVALID', NEVER, /form_id.*7 days/],
  [41029, 'FORM_ID_USED', NEVER, /form_id has been used/],
  [43101, 'CONSENT_MISSING', NEVER, /not agreed/],
  [43117, 'TOO_FREQUENT', minutes(1), /too often/],
  [45009, 'DAILY_QUOTA_EXHAUSTED', { kind: 'daily_quota' }, /daily quota of messages/],
  [45011, 'MINUTE_QUOTA_EXHAUSTED', { kind: 'minute_quota' }, /messages for this minute/],
  [45103, 'INTERFACE_RETIRED', NEVER, /retired.*`mini_program`.*2020-01-10.*`subscribe`/],
  [45109, 'INTERFACE_RETIRED', NEVER, /retired.*`mini_program`.*2020-01-10.*`subscribe`/],
  [48001, 'INTERFACE_NOT_GRANTED', minutes(5), /may not call.*wrong kind/],
  [48004, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [50002, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [50004, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [50007, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [40164, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  [61004, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  // What a token call knows and a message call does not.
  [40013, 'MESSAGE_REFUSED', NEVER, /WeChat refused the message/],
  [40125, 'MESSAGE_REFUSED', NEVER, /WeChat refused the message/],
  [43002, 'MESSAGE_REFUSED', NEVER, /WeChat refused the message/],
  [99999, 'MESSAGE_REFUSED', NEVER, /WeChat refused the message/],
];

const PROBE_TABLE: typeof TABLE = [
  [-1, 'UPSTREAM_BUSY', BACKOFF, /busy/],
  [40164, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  [61004, 'IP_NOT_ALLOWED', minutes(5), /allow-list/],
  [50002, 'ACCOUNT_CLOSED', minutes(5), /closed/],
  [45009, 'DAILY_QUOTA_EXHAUSTED', { kind: 'daily_quota' }, /get_api_domain_ip/],
  [45011, 'MINUTE_QUOTA_EXHAUSTED', { kind: 'minute_quota' }, /get_api_domain_ip/],
  [40125, 'UPSTREAM_ERROR', BACKOFF, /did not say/],
  [99999, 'UPSTREAM_ERROR', BACKOFF, /did not say/],
];

describe('probeError', () => {
  test.each(PROBE_TABLE)('%i is %s', expectRow(probeError));

  test.each(PROBE_TABLE)('%i blames neither the secret nor other programs', (errcode) => {
    expect(probeError(errcode, '').message).not.toMatch(/program|AppSecret/);
  });
});

describe('messageError', () => {
  test.each(MESSAGE_TABLE)('%i is %s', expectRow(messageError));

  test('names the IP address that WeChat refuses', () => {
    const errmsg = 'invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1-2-3';
    expect(messageError(40164, errmsg).message).toContain('Add 203.0.113.7 in the WeChat console');
  });

  test('takes secrets out, the longest first, the shortest where they stand alone, and no part of the rid', () => {
    expect(messageError(40003, 'invalid openid oABC-1, form oABC', ['oABC', 'oABC-1']).answer?.errmsg).toBe(
      'invalid openid ***, form ***',
    );
    expect(messageError(45103, 'invalid form id f, openid o1', ['f', 'o1']).answer?.errmsg).toBe(
      'invalid form id ***, openid ***',
    );
    expect(messageError(41028, 'b-1: no user cafe rid: 1-cafe-3', ['b', 'cafe']).answer).toEqual({
      errcode: 41028,
      errmsg: 'b-1: no user ***',
      rid: '1-cafe-3',
    });
    expect(messageError(40003, 'invalid openid o\u0001A rid: 1-2-3', ['o\u0001A']).answer).toEqual({
      errcode: 40003,
      errmsg: 'invalid openid ***',
      rid: '1-2-3',
    });
  });
});

test('TOKEN_REFUSED holds the codes of a refused token', () => {
  expect([...TOKEN_REFUSED].sort()).toEqual([40001, 40014, 42001]);
});
