import { describe, expect, it } from 'vitest';
import type { SandboxApp } from '../../src/sandbox/app.ts';
import { type Call, callKinds } from '../../src/sandbox/calls.ts';
import { ENDPOINTS } from '../../src/sandbox/paths.ts';
import { toCall } from '../../src/sandbox/requests.ts';
import { appId, LETTER, rig, secret } from './support.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Asks as over HTTP, and says what WeChat says. */
function asking(settings: Partial<SandboxApp> = {}) {
  const base = rig(settings);
  const { wechat } = base;
  const ask = (
    path: string,
    body?: unknown,
    { token = base.token('stable'), query = '' }: { token?: string; query?: string } = {},
  ) => {
    const url = new URL(`http://wechat${path}?access_token=${token}${query}`);
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const method = body === undefined ? 'GET' : 'POST';
    const call = toCall({ method, url, body: text, ip: '10.0.0.9' });
    const origin = { path, query: url.search.slice(1), body: text, ip: '10.0.0.9' };
    const delivery = typeof call === 'number' ? wechat.refuse(call, origin) : wechat.receive(call, origin);
    if (delivery.kind !== 'answer') throw new Error(`no answer: ${delivery.kind}`);
    // biome-ignore lint/suspicious/noExplicitAny: an answer of any kind.
    return JSON.parse(delivery.text) as any;
  };
  const secretly = (path: string, fields: Record<string, string>) =>
    ask(path, undefined, { token: '', query: `&${new URLSearchParams(fields)}` });
  const quota = (path: string) => ask('/cgi-bin/openapi/quota/get', { cgi_path: path });
  return { ...base, ask, secretly, quota };
}

const ridOf = (said: { errmsg: string }) => /rid: ([\da-f-]{26})$/.exec(said.errmsg)?.[1] ?? '';

describe('every path with a token', () => {
  const paths = [...ENDPOINTS].filter(([, { kind }]) => !['classic', 'stable', 'clear_quota_v2'].includes(kind));
  it.each(paths.filter(([path]) => !path.startsWith('/sns/')))('%s checks it first', (path, { method }) => {
    const { ask } = asking();
    const body = method === 'POST' ? {} : undefined;
    expect(ask(path, body, { token: '' }).errcode).toBe(41001);
    expect(ask(path, body, { token: 'nobody' }).errcode).toBe(40014);
  });

  it.each([...ENDPOINTS].filter(([, { method }]) => method !== 'any'))('%s has one method', (path, { method }) => {
    const wrong = method === 'GET' ? {} : undefined;
    expect(asking().ask(path, wrong).errcode).toBe(method === 'GET' ? 43001 : 43002);
  });

  it('has a kind by which faults meet it', () => {
    const kinds = [...ENDPOINTS.values()].map(({ kind }) => kind);
    expect([...kinds, 'stable_force', 'other'].sort()).toEqual([...callKinds].sort());
    const { ask, wechat } = asking();
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: -1 }, calls: ['ticket'], count: 1 });
    expect(ask('/cgi-bin/getcallbackip').ip_list).toHaveLength(3);
    expect(ask('/cgi-bin/ticket/getticket').errcode).toBe(-1);
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: ['jscode2session'], count: 1 });
    expect(ask('/sns/jscode2session').errcode).toBe(45009);
  });
});

describe('tickets', () => {
  const path = '/cgi-bin/ticket/getticket';

  it.each(['jsapi', 'wx_card'] as const)('%s by GET and POST, a new one each time that ends no other', async (type) => {
    const { ask, wechat, clock } = asking();
    const query = `&type=${type}`;
    const first = ask(path, undefined, { query });
    expect(first).toEqual({ errcode: 0, errmsg: 'ok', ticket: expect.any(String), expires_in: 7200 });
    expect(first.ticket.length).toBeGreaterThanOrEqual(86);
    const others = [ask(path, '', { query }), ask(path, { type })];
    const tickets = [first, ...others].map(({ ticket }) => ticket);
    expect(new Set(tickets).size).toBe(3);
    const honoured = () => tickets.map((ticket) => wechat.honoursTicket(appId, type, ticket));
    for (const issuer of ['classic', 'stable'] as const) wechat.kill(appId, { issuer, which: 'all' });
    expect(honoured()).toEqual([true, true, true]);
    expect(wechat.honoursTicket(appId, type === 'jsapi' ? 'wx_card' : 'jsapi', first.ticket)).toBe(false);
    await clock.advance(120 * MINUTE - 1);
    expect(honoured()).toEqual([true, true, true]);
    await clock.advance(1);
    expect(honoured()).toEqual([false, false, false]);
  });

  it('40097 for another type, 48001 for a mini program, and a lifetime that is set', () => {
    const { ask, wechat } = asking({ ticketLifetimeMs: 30_000 });
    expect([ask(path), ask(path, undefined, { query: '&type=card' })].map(({ errcode }) => errcode)).toEqual([
      40097, 40097,
    ]);
    expect(ask(path, undefined, { query: '&type=jsapi' }).expires_in).toBe(30);
    expect(wechat.tickets(appId)).toHaveLength(1);
    wechat.changeApp(appId, { accountKind: 'mini_program' });
    expect(ask(path, undefined, { query: '&type=jsapi' }).errcode).toBe(48001);
  });
});

describe('quotas', () => {
  it('tells what is counted of each call', () => {
    const { ask, quota, send, token } = asking({ unlimitedConsent: true, callQuotas: { perDay: 50, perMinute: 40 } });
    for (let i = 0; i < 2; i++) ask('/cgi-bin/tags/get');
    expect(quota('/cgi-bin/tags/get')).toEqual({
      errcode: 0,
      errmsg: 'ok',
      quota: { daily_limit: 50, used: 2, remain: 48 },
      rate_limit: { call_count: 40, refresh_second: 60 },
    });
    expect(quota('/cgi-bin/menu/get').quota.used).toBe(0);
    token('classic');
    expect(quota('/cgi-bin/token').quota).toEqual({ daily_limit: 2000, used: 1, remain: 1999 });
    const stable = quota('/cgi-bin/stable_token').quota.used;
    expect(stable).toBeGreaterThan(0);
    send('message_subscribe');
    send('message_subscribe', { toUser: '' });
    expect(quota('/cgi-bin/message/subscribe/send').quota).toEqual({
      daily_limit: 1_000_000,
      used: 1,
      remain: 999_999,
    });
  });

  it('76021, 76022 and 76003 for what is no path to ask about', () => {
    const { quota, ask } = asking();
    expect(['/a?b', `/${'x'.repeat(256)}`].map((path) => quota(path).errcode)).toEqual([76021, 76021]);
    expect(quota('/sns/jscode2session').errcode).toBe(76022);
    expect(['https://api.weixin.qq.com/cgi-bin/token', 'cgi-bin/token', ''].map((path) => quota(path).errcode)).toEqual(
      [76003, 76003, 76003],
    );
    for (const body of ['', '[', '5', { cgi_path: 5 }])
      expect(ask('/cgi-bin/openapi/quota/get', body).errcode).toBe(47001);
  });

  it('45011 and 45009 for a call that has none left; a refused call costs none', async () => {
    const { ask, clock } = asking({ callQuotas: { perDay: 3, perMinute: 2 } });
    const upload = () => ask('/cgi-bin/media/upload', {}, { query: '&type=image' }).errcode;
    const tags = () => ask('/cgi-bin/tags/get').errcode;
    expect([upload(), upload(), upload()]).toEqual([41005, 41005, 41005]);
    expect([tags(), tags(), tags()]).toEqual([0, 0, 45011]);
    await clock.advance(MINUTE);
    expect([tags(), tags()]).toEqual([0, 45009]);
  });

  it('are cleared at once, 10 times a month by either call, and not for another app', async () => {
    const { ask, wechat, clock, quota, secretly, ask: post } = asking({ callQuotas: { perDay: 2, perMinute: 100 } });
    const tags = () => ask('/cgi-bin/tags/get').errcode;
    const clear = (cleared: unknown = appId) => ask('/cgi-bin/clear_quota', { appid: cleared });
    const clear2 = (body: unknown = { appid: appId, appsecret: secret }) =>
      post('/cgi-bin/clear_quota/v2', body, { token: '' });
    expect([tags(), tags(), tags()]).toEqual([0, 0, 45009]);
    expect([clear('wxother'), clear(''), clear(null)].map(({ errcode }) => errcode)).toEqual([40013, 40013, 40013]);
    expect(clear()).toEqual({ errcode: 0, errmsg: 'ok' });
    expect([tags(), tags(), tags()]).toEqual([0, 0, 45009]);
    expect(clear2({ appid: appId, appsecret: 'wrong' }).errcode).toBe(40125);
    expect([{}, { appid: appId }, { appid: 'wxother', appsecret: 'x' }].map((body) => clear2(body).errcode)).toEqual([
      41002, 41004, 40013,
    ]);
    expect(wechat.clearsLeft(appId)).toBe(9);
    expect(clear2()).toEqual({ errcode: 0, errmsg: 'ok' });
    expect([tags(), tags(), tags()]).toEqual([0, 0, 45009]);
    const viaQuery = toCall({
      method: 'POST',
      url: new URL(`http://wechat/cgi-bin/clear_quota/v2?appid=${appId}&appsecret=${encodeURIComponent(secret)}`),
      body: '',
      ip: '',
    });
    wechat.receive(viaQuery as Call);
    for (let i = 3; i < 10; i++) expect(clear2().errcode).toBe(0);
    expect([clear2().errcode, wechat.clearsLeft(appId)]).toEqual([48006, 0]);
    // The clear by token finds its own path cleared, which was called once.
    expect(clear().errcode).toBe(48006);
    expect(quota('/cgi-bin/clear_quota').quota.used).toBe(0);
    await clock.advance(31 * DAY);
    expect([clear2().errcode, wechat.clearsLeft(appId)]).toEqual([0, 9]);
    expect(secretly('/cgi-bin/clear_quota/v2', {}).errcode).toBe(43002);
  });

  it('of tokens and messages are cleared too, and the minute’s stay', () => {
    const { ask, wechat, secretly, send, token } = asking({
      unlimitedConsent: true,
      quotas: { classicPerDay: 1, classicPerMinute: 9, stablePerDay: 99, stablePerMinute: 99, forcedPerDay: 1 },
      messageQuotas: { perDay: 9, perMinute: 1 },
    });
    const bearer = token('classic');
    const classic = () => secretly('/cgi-bin/token', { grant_type: 'client_credential', appid: appId, secret }).errcode;
    expect([classic(), send('message_subscribe'), send('message_subscribe')]).toEqual([45009, 0, 45011]);
    ask('/cgi-bin/clear_quota', { appid: appId }, { token: bearer });
    expect([classic(), send('message_subscribe')]).toEqual([undefined, 45011]);
    expect(wechat.counts(appId)).toMatchObject({ clear_quota: 1 });
  });
});

describe('rid/get', () => {
  const path = '/cgi-bin/openapi/rid/get';

  it('tells of a call that failed, without a secret or a token', async () => {
    const { ask, wechat, clock } = asking();
    const bearer = ask('/cgi-bin/stable_token', { grant_type: 'client_credential', appid: appId, secret }).access_token;
    const failed = ask(
      '/cgi-bin/message/template/send',
      { touser: '', secret: 'hush"}', template_id: 'T1' },
      { token: bearer },
    );
    await clock.advance(5_000);
    const { request, ...rest } = ask(path, { rid: ridOf(failed) });
    expect(rest).toEqual({ errcode: 0, errmsg: 'ok' });
    expect(request).toEqual({
      invoke_time: Math.floor((wechat.now() - 5_000) / 1000),
      cost_in_ms: expect.any(Number),
      request_url: `access_token=${bearer.slice(0, 6)}xxxx`,
      request_body: '{"touser":"","secret":"xxxx","template_id":"T1"}',
      response_body: JSON.stringify(failed),
      client_ip: '10.0.0.9',
    });
  });

  it('shows nothing of a secret, wherever what is kept of a body ends', () => {
    const { ask } = asking();
    for (let pad = 960; pad < 1_000; pad++) {
      const body = `{"x":"${'x'.repeat(pad)}","appsecret":"hush\\"hush\\\\hush","y":1}`;
      const failed = ask('/cgi-bin/openapi/quota/get', body);
      expect(ask(path, { rid: ridOf(failed) }).request.request_body).not.toContain('hu');
    }
  });

  it('tells of faults, wrong methods and wrong secrets too', () => {
    const { ask, wechat, secretly } = asking();
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: ['other'], count: 1 });
    const refused = ask('/cgi-bin/tags/get');
    const method = ask('/cgi-bin/menu/get', {});
    const wrong = secretly('/cgi-bin/token', { grant_type: 'client_credential', appid: appId, secret: 'hush' });
    for (const said of [refused, method, wrong])
      expect(ask(path, { rid: ridOf(said) }).request.response_body).toBe(JSON.stringify(said));
    expect(ask(path, { rid: ridOf(wrong) }).request.request_url).not.toContain('hush');
  });

  it('76001 for an unknown one, 76002 for none, 76003 for another app’s, 76004 after 7 days, 76022 for a login', async () => {
    const { ask, wechat, clock, secretly } = asking();
    wechat.setApp({ appId: 'wxother', secret });
    const failed = ask('/cgi-bin/media/get');
    const rid = ridOf(failed);
    const errcode = (given: unknown, token?: string) =>
      ask(path, { rid: given }, token === undefined ? {} : { token }).errcode;
    expect([errcode(rid), errcode(rid.replace(/.$/, (last) => (last === '0' ? '1' : '0')))]).toEqual([0, 76001]);
    expect([errcode(''), errcode(null), errcode('x'), errcode(`${rid}0`)]).toEqual([76002, 76002, 76002, 76002]);
    const grant = { grant_type: 'client_credential', appid: 'wxother', secret };
    const { access_token: other } = ask('/cgi-bin/stable_token', grant, { token: '' });
    expect(errcode(rid, other)).toBe(76003);
    const login = secretly('/sns/jscode2session', { grant_type: 'authorization_code', appid: appId, secret });
    expect([login.errcode, errcode(ridOf(login))]).toEqual([41008, 76022]);
    await clock.advance(7 * DAY - MINUTE);
    expect(errcode(rid)).toBe(0);
    await clock.advance(2 * MINUTE);
    expect(errcode(rid)).toBe(76004);
  });
});

describe('logins', () => {
  const grant = { grant_type: 'authorization_code', appid: appId, secret };

  it('jscode2session answers a session and an openid, once for a code', () => {
    const { secretly } = asking();
    const login = (fields: Record<string, string>) => secretly('/sns/jscode2session', { ...grant, ...fields });
    const one = login({ js_code: 'c1' });
    expect(one).toEqual({
      session_key: expect.stringMatching(/^[\w+/]{22}==$/),
      openid: expect.stringMatching(/^o.{27}$/),
    });
    expect(login({ js_code: 'c2' }).openid).not.toBe(one.openid);
    const codes = ['c1', '', 'invalid-code'].map((js_code) => login({ js_code }).errcode);
    expect(codes).toEqual([40163, 41008, 40029]);
    expect(login({ js_code: 'c3', secret: 'wrong' }).errcode).toBe(40125);
    expect(login({ js_code: 'c3', secret: '' }).errcode).toBe(41004);
    expect(login({ js_code: 'c3', appid: 'wxnobody' }).errcode).toBe(40013);
    expect(login({ js_code: 'c3', grant_type: 'client_credential' }).errcode).toBe(40002);
    expect(login({ js_code: 'c3' }).errcode).toBeUndefined();
  });

  it('oauth2 answers tokens of the user, which are none of the app', () => {
    const { secretly, probe, wechat } = asking();
    const said = secretly('/sns/oauth2/access_token', { ...grant, code: 'c1' });
    expect(said).toEqual({
      access_token: expect.any(String),
      expires_in: 7200,
      refresh_token: expect.any(String),
      openid: expect.any(String),
      scope: 'snsapi_base',
    });
    expect(probe(said.access_token).errcode).toBe(40014);
    wechat.changeApp(appId, { condition: 'secret_frozen' });
    expect(secretly('/sns/oauth2/access_token', { ...grant, code: 'c2' }).errcode).toBe(40243);
  });
});

it('a menu, or 46003 where there is none, and 48001 for a mini program', () => {
  const { ask, wechat } = asking();
  expect(ask('/cgi-bin/menu/get')).toEqual({ menu: { button: wechat.app(appId).menu } });
  wechat.changeApp(appId, { menu: null });
  expect(ask('/cgi-bin/menu/get').errcode).toBe(46003);
  wechat.changeApp(appId, { accountKind: 'mini_program' });
  expect(ask('/cgi-bin/menu/get').errcode).toBe(48001);
});

it('no call is logged with a token, a secret, a ticket, a code or an openid', () => {
  const { ask, secretly, wechat, token } = asking();
  const bearer = token('stable');
  const { ticket } = ask('/cgi-bin/ticket/getticket', undefined, { query: '&type=jsapi' });
  const { openid } = secretly('/sns/jscode2session', {
    grant_type: 'authorization_code',
    appid: appId,
    secret,
    js_code: 'a-code',
  });
  ask('/cgi-bin/message/template/send', { touser: LETTER.toUser });
  const log = JSON.stringify(wechat.calls);
  for (const hidden of [bearer, secret, ticket, openid, 'a-code', LETTER.toUser]) expect(log).not.toContain(hidden);
});
