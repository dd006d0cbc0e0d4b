import { expect, it } from 'vitest';
import { Place, SECRET } from '../support/lingpai.ts';

const MENU = '/cgi-bin/menu/get';

async function served() {
  const place = await Place.make();
  await place.configure({ refresh: { cooldown: '0s' } });
  const { broker, grpc } = await place.serve();
  const addr = ['--addr', grpc];
  const { wechat } = place.wechat;
  return {
    place,
    broker,
    wechat,
    run: (...args: string[]) => place.run(...args, ...addr),
    lingpai: async (...args: string[]) => {
      const { code, output } = await place.run(...args, ...addr);
      expect(code, output).toBe(0);
      return output;
    },
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

it('quota tells what WeChat counts and what the broker allows itself, also where the token was refused', async () => {
  await using at = await served();
  expect(await at.lingpai('quota', 'wxa', MENU)).toMatch(/^WeChat: \d+ of 10000000 used today, \d+ left\n$/);
  const token = await at.lingpai('quota', 'wxa', '/cgi-bin/token');
  expect(token).toMatch(
    /^WeChat: 1 of 2000 used today, 1999 left\nthe broker's own budget: 1 of \d+ mints made today; it begins anew in \d+:/,
  );
  at.wechat.kill('wxa', { issuer: 'classic', which: 'current', stuck: false });
  const json = JSON.parse(await at.lingpai('quota', 'wxa', '/cgi-bin/token', '--json'));
  expect(json).toMatchObject({ dailyLimit: '2000', used: '2', mintBudget: { used: 2 }, shutChannels: [] });
  const { code, output } = await at.run('quota', 'wxa', '/sns/jscode2session');
  expect([code, output]).toEqual([1, expect.stringMatching(/\/sns\/.*errcode 76022.*CGI_PATH_INVALID/)]);
  expect((await at.run('quota', 'wxa', 'menu/get')).output).toMatch(/cgi_path must be a path/);
});

it('quota clear opens what was shut: a channel, and a refresh that waits where there is no token', async () => {
  await using at = await served();
  at.wechat.setApp({ appId: 'wxa', secret: SECRET, unlimitedConsent: true });
  const flags = ['--app', 'wxa', '--to', 'u1', '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=x'];
  at.place.wechat.faults.inject({
    effect: { kind: 'errcode', errcode: 45009, errmsg: 'reach max api daily quota limit' },
    calls: ['message_subscribe'],
    count: 1,
  });
  expect((await at.run('send', ...flags)).output).toContain('DAILY_QUOTA_EXHAUSTED');
  expect(await at.lingpai('quota', 'wxa', '/cgi-bin/message/subscribe/send')).toContain(
    'messages by subscribe are refused until',
  );
  const { code, output } = await at.run('quota', 'clear', 'wxa');
  expect([code, output]).toEqual([2, expect.stringContaining('give --yes')]);
  expect(at.wechat.clearsLeft('wxa')).toBe(10);
  expect(await at.lingpai('quota', 'clear', 'wxa', '--yes')).toMatch(
    /^cleared\nWeChat does not say how many of the 10 clears a month are left\nthe broker tries again/,
  );
  expect(at.wechat.clearsLeft('wxa')).toBe(9);
  expect(await at.lingpai('status', 'wxa')).not.toContain('refused');
  await at.lingpai('send', ...flags);

  // The day's mints are spent, and the token dies: there is none to ask by.
  const quotas = { classicPerDay: 2, classicPerMinute: 9, stablePerDay: 9, stablePerMinute: 9, forcedPerDay: 9 };
  at.wechat.setApp({ appId: 'wxa', secret: SECRET, quotas });
  await at.lingpai('refresh', 'wxa');
  await at.lingpai('refresh', 'wxa');
  const [, dead = ''] = /generation +(\d+)/.exec(await at.lingpai('get', 'wxa')) ?? [];
  at.wechat.kill('wxa', { issuer: 'classic', which: 'all', stuck: false });
  await at.run('refresh', 'wxa');
  const cleared = JSON.parse(await at.lingpai('quota', 'clear', 'wxa', '--yes', '--json'));
  expect(cleared).toEqual({ errmsg: 'ok', bySecret: true });
  expect(await at.lingpai('get', 'wxa', '--min-generation', String(Number(dead) + 1))).toContain('FRESH');

  for (let left = at.wechat.clearsLeft('wxa'); left > 0; left--) await at.lingpai('quota', 'clear', 'wxa', '--yes');
  expect((await at.run('quota', 'clear', 'wxa', '--yes')).output).toMatch(
    /10 times this month.*48006.*QUOTA_CLEARS_EXHAUSTED/,
  );
});

it('an error that carries a rid says that lingpai rid tells more, and it does, without what the call carried', async () => {
  await using at = await served();
  const openid = 'oUser-of-a-call';
  at.wechat.setApp({ appId: 'wxa', secret: SECRET, templates: ['t2'] });
  const flags = ['--app', 'wxa', '--to', openid, '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=x'];
  const { output } = await at.run('send', ...flags);
  const [, rid = ''] = /"lingpai rid wxa (\S+)" tells/.exec(output) ?? [];
  expect(rid).not.toBe('');
  const told = await at.lingpai('rid', 'wxa', rid);
  expect(told).toMatch(
    /^time {7}20\S+Z\ntook {7}1 ms\nrequest {4}access_token=\*\*\*\ncame from {2}127\.0\.0\.1\nerrcode {4}40037\nerrmsg/,
  );
  const json = await at.lingpai('rid', 'wxa', rid, '--json');
  expect(JSON.parse(json)).toMatchObject({ errcode: 40037, clientIp: '127.0.0.1' });
  for (const text of [told, json]) expect(text).not.toMatch(/oUser|xxxx|[\w-]{40}/);
  const other = await at.run('rid', 'wxb', rid);
  expect([other.code, other.output]).toEqual([1, expect.stringMatching(/another app's call.*76003.*RID_UNKNOWN/)]);
  expect(other.output).not.toContain('lingpai rid');
  expect((await at.run('rid', 'wxa', 'nonsense')).output).toContain('rid must be three hexadecimal numbers');
});
