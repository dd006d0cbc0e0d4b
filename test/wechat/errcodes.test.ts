import { describe, expect, test } from 'vitest';
import type { Recovery, UpstreamReason } from '../../src/core/errors.ts';
import { TOKEN_REFUSED, tokenError } from '../../src/wechat/errcodes.ts';

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
  [45009, 'DAILY_QUOTA_EXHAUSTED', { kind: 'daily_quota' }, /daily quota/],
  [45011, 'MINUTE_QUOTA_EXHAUSTED', { kind: 'minute_quota' }, /minute/],
  [48001, 'UPSTREAM_ERROR', BACKOFF, /refused/],
  [42001, 'UPSTREAM_ERROR', BACKOFF, /refused/],
  [99999, 'UPSTREAM_ERROR', BACKOFF, /refused/],
];

describe('tokenError', () => {
  test.each(TABLE)('%i is %s', (errcode, reason, recovery, words) => {
    const error = tokenError(errcode, 'as it is rid: 5f0e1a2b-3c4d5e6f-708192a3');
    expect(error).toMatchObject({
      reason,
      recovery,
      effect: 'refused',
      answer: { errcode, errmsg: 'as it is', rid: '5f0e1a2b-3c4d5e6f-708192a3' },
    });
    expect(error.message).toMatch(words);
    expect(error.message).toContain(`(errcode ${errcode}, as it is, rid 5f0e1a2b-3c4d5e6f-708192a3)`);
  });

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

test('TOKEN_REFUSED holds the codes of a refused token', () => {
  expect([...TOKEN_REFUSED].sort()).toEqual([40001, 40014, 42001]);
});
