import { once } from 'node:events';
import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { signStandIn, unsignedStandIn } from '../../src/access/stand-in.ts';
import { makeKey } from '../support/access-key.ts';
import { type Answered, ask, fetchToken, type Housed, housed } from '../support/gateway.ts';
import { until } from '../support/rpc.ts';
import { MINUTE } from '../support/world.ts';

const orders = makeKey('orders');
const crm = makeKey('crm');
const RULES = [
  { who: ['key:orders'], may: ['call'], apps: ['wxc'] },
  { who: ['key:crm'], may: ['call'], apps: ['*'], paths: ['/cgi-bin/message/', '/wxa/', '/sns/'] },
  { who: ['key:reader'], may: ['read'], apps: ['*'] },
] as const;
const guarded = (more = {}) => housed({ keys: [orders, crm], rules: RULES, ...more });
const SEND = '/cgi-bin/message/custom/send';

const standInOf = async (house: Housed, key: string, app = 'wxc') =>
  (await fetchToken(house, app, key)).access_token ?? expect.fail('no stand-in');
const call = (house: Housed, standIn: string, path = SEND, more = ''): Promise<Answered> =>
  ask(`${house.url}${path}?access_token=${encodeURIComponent(standIn)}${more}`);

describe('a call with a stand-in', () => {
  it('is passed on for its app, as it came', async () => {
    const house = await guarded();
    const standIn = await standInOf(house, orders.key);
    const answered = await ask(`${house.url}//cgi-bin//message/custom/send?a=%20b&access_token=${standIn}&c=`, {
      method: 'POST',
      body: '{}',
    });
    expect(answered).toEqual({ errcode: 0, path: SEND });
    expect(house.forwarder.calls).toEqual([
      { appId: 'wxc', kind: 'business', path: SEND, query: `a=%20b&access_token=${standIn}&c=`, credential: standIn },
    ]);
    expect(house.observed.at(-1)).toEqual({
      appId: 'wxc',
      path: '/cgi-bin/message/custom/',
      errcode: 0,
      cured: false,
      addedMs: 0.2,
    });
    expect(house.authenticated).toEqual(['key ok', 'key ok']);
    expect(house.audit.events).toMatchObject([
      { event: 'gateway.called', appId: 'wxc', outcome: '0', call: { caller: { name: 'key:orders' } } },
    ]);
  });

  it('is counted by its app, a path out of a closed list, errcode, and whether it was cured', async () => {
    const house = await guarded();
    const standIn = await standInOf(house, orders.key);
    house.forwarder.result = { errcode: 43004, cured: true, addedMs: 7 };
    await call(house, standIn, `/made/up/${'x'.repeat(200)}`);
    expect(house.observed.at(-1)).toEqual({ appId: 'wxc', path: 'other', errcode: 43004, cured: true, addedMs: 7 });
    await call(house, standIn, `/cgi-bin/${'x'.repeat(200)}`);
    expect(house.observed.at(-1)).toMatchObject({ path: '/cgi-bin/' });
  });

  it('locally is passed on for the app that it names, if there is such an app', async () => {
    const house = await housed();
    expect(await call(house, unsignedStandIn('local', 'wxs'))).toMatchObject({ errcode: 0 });
    expect(await call(house, unsignedStandIn('local', 'wxnone'))).toMatchObject({ errcode: 40013 });
    expect(house.forwarder.calls.map(({ appId }) => appId)).toEqual(['wxs']);
  });

  it('counts as a call of its caller', async () => {
    const house = await guarded({ callsASecond: 2 });
    const standIn = await standInOf(house, orders.key);
    expect([await call(house, standIn), await call(house, standIn)]).toMatchObject([
      { errcode: 0 },
      { errcode: 45011 },
    ]);
    await house.clock.advance(1_000);
    expect(await call(house, standIn)).toMatchObject({ errcode: 0 });
  });
});

describe('is not passed on:', () => {
  const refused = async (house: Housed, standIn: string, path?: string) => {
    const answered = await call(house, standIn, path);
    expect(house.forwarder.calls).toEqual([]);
    expect(answered.errmsg).toMatch(/\w+ \w+/);
    return answered.errcode;
  };

  it.each([
    ['a token of WeChat', () => '66_real-token-0123456789'],
    ['a stand-in that nobody signed', () => unsignedStandIn('local', 'wxc')],
    ['one of a key that is not known', () => signStandIn(makeKey('x').key, makeKey('x').stored.id, 'wxc')],
    ['one that another key signed', () => signStandIn(crm.key, orders.stored.id, 'wxc')],
    ['one that is cut', () => signStandIn(orders.key, orders.stored.id, 'wxc').slice(0, -1)],
    ['one with a bit changed', () => signStandIn(orders.key, orders.stored.id, 'wxd').replace(/[^A](?=.{9}$)/, 'A')],
    ['one that is much too long', () => `lps1.${'A'.repeat(5_000)}`],
  ])('%s: 40001, for which an SDK gets another one, and is told by 40125 where its key is wrong', async (_, make) => {
    const house = await guarded();
    expect(await refused(house, make())).toBe(40001);
    expect(house.audit.of('authn.failed')).toMatchObject([{ method: 'key', peer: '127.0.0.1' }]);
    expect(JSON.stringify(house.audit.events)).not.toContain(make().slice(0, 12));
  });

  it('one that its holder signed for an app that it may not use, be it there or not: 48001, alike', async () => {
    const house = await guarded();
    const of = (app: string) => call(house, signStandIn(orders.key, orders.stored.id, app));
    const [there, nowhere] = [await of('wxs'), await of('wxz')];
    expect(there).toMatchObject({ errcode: 48001, errmsg: expect.stringContaining('"wxs"') });
    expect(nowhere).toEqual({ ...there, errmsg: there.errmsg?.replace('wxs', 'wxz') });
    expect(house.forwarder.calls).toEqual([]);
    expect(house.observed.map(({ appId }) => appId)).toEqual([undefined, undefined]);
  });

  it('one for an app that is gone: 40013', async () => {
    const house = await guarded();
    house.world.broker.configure(house.world.apps.filter(({ appId }) => appId !== 'wxc'));
    expect(await refused(house, signStandIn(orders.key, orders.stored.id, 'wxc'))).toBe(40013);
  });

  it('none: 41001', async () => {
    const house = await guarded();
    expect(await ask(`${house.url}${SEND}`)).toMatchObject({ errcode: 41001 });
    expect(await ask(`${house.url}${SEND}?access_token=`)).toMatchObject({ errcode: 41001 });
    expect(await ask(`${house.url}${SEND}`, { headers: { authorization: orders.authorization } })).toMatchObject({
      errcode: 41001,
    });
  });

  it('one of a certificate without that certificate: 48001, since another one would change nothing', async () => {
    const house = await guarded();
    expect(await refused(house, unsignedStandIn('certificate', 'wxc'))).toBe(48001);
    expect(house.audit.of('authn.failed')).toMatchObject([{ method: 'certificate' }]);
  });

  it.each(['/sns/userinfo', '/sns/auth', '/sns/oauth2/refresh_token'])(
    '%s, which shows a token of a user',
    async (path) => {
      const house = await guarded();
      expect(await refused(house, 'OezXcEiiBSKSxW0eoylIeA', path)).toBe(48001);
    },
  );

  it.each([
    '/sns/userinfo/',
    '/SNS/userinfo',
    '//sns//auth/',
    '/sns/jscode2session/',
    '/sns/component/jscode2session',
    '/sns/new',
  ])('%s, where WeChat would refuse the token of the app, good as it is', async (path) => {
    const house = await guarded();
    const { access_token: standIn } = await fetchToken(house, 'wxc', orders.key);
    expect(await refused(house, String(standIn), path)).toBe(48001);
    expect(house.forwarder.calls).toEqual([]);
  });

  it('any, where real tokens are handed out and it shows one', async () => {
    const house = await guarded({ tokens: 'real' });
    expect(await refused(house, house.world.token('wxc'))).toBe(48001);
  });
});

describe('after a key was revoked', () => {
  it('its stand-ins are nothing at once, those of another key of that name go on', async () => {
    const second = makeKey('orders');
    const house = await guarded({ keys: [orders, second] });
    const [one, two] = [await standInOf(house, orders.key), await standInOf(house, second.key)];
    expect(one).not.toBe(two);
    expect([await call(house, one), await call(house, two)]).toMatchObject([{ errcode: 0 }, { errcode: 0 }]);
    house.change({ keys: [second] });
    expect([await call(house, one), await call(house, two)]).toMatchObject([{ errcode: 40001 }, { errcode: 0 }]);
    house.change({ rules: RULES, blocked: [second.stored.id] });
    expect(await call(house, two)).toMatchObject({ errcode: 40001 });
    house.change({ rules: RULES, blocked: [] });
    expect(await call(house, two)).toMatchObject({ errcode: 0 });
  });

  it('or has expired, likewise', async () => {
    const short = makeKey('orders', { expires: Date.UTC(2026, 0, 15, 4, 30) });
    const house = await guarded({ keys: [short] });
    const standIn = await standInOf(house, short.key);
    expect(await call(house, standIn)).toMatchObject({ errcode: 0 });
    await house.clock.advance(31 * MINUTE);
    expect(await call(house, standIn)).toMatchObject({ errcode: 40001, errmsg: expect.stringContaining('expired') });
  });

  it('a call that goes on ends within 5 s, as a stream does', async () => {
    const house = await guarded();
    const standIn = await standInOf(house, orders.key);
    let isOpen = false;
    house.forwarder.answer = async (_, response) => {
      isOpen = true;
      await new Promise<void>((resolve) => void response.once('close', () => resolve()));
    };
    const gone = call(house, standIn).then(
      () => 'answered',
      () => 'ended',
    );
    while (!isOpen) await new Promise((resolve) => void setImmediate(resolve));
    expect(house.access.followed).toBe(1);
    house.change({ keys: [] });
    await house.clock.advance(5_000);
    expect(await gone).toBe('ended');
    expect(house.access.followed).toBe(0);
  });

  it('a right that was lost ends the calls that need it', async () => {
    const house = await guarded();
    const standIn = await standInOf(house, orders.key);
    house.change({ rules: [{ who: ['key:orders'], may: ['call'], apps: ['wxs'] }] });
    expect(await call(house, standIn)).toMatchObject({ errcode: 48001 });
    expect(house.forwarder.calls).toEqual([]);
  });
});

describe('paths of a rule', () => {
  it.each([
    ['/cgi-bin/message/custom/send', 0],
    ['//cgi-bin//message/template/send', 0],
    ['/wxa/getwxacode', 0],
    ['/cgi-bin/message', 48001],
    ['/cgi-bin/user/get', 48001],
    ['/CGI-BIN/message/custom/send', 48001],
    ['/', 48001],
  ])('%s: %d', async (path, errcode) => {
    const house = await guarded();
    const standIn = await standInOf(house, crm.key, 'wxs');
    const answered = await call(house, standIn, path);
    expect(answered.errcode).toBe(errcode);
    if (errcode === 0) return expect(house.audit.of('access.denied')).toEqual([]);
    expect(answered.errmsg).toContain('see its paths');
    expect(house.audit.of('access.denied')).toMatchObject([{ verb: 'call', appId: 'wxs' }]);
    expect(house.forwarder.calls).toEqual([]);
  });

  it('hold for tickets too', async () => {
    const house = await guarded({ tickets: { get: () => expect.fail('a ticket') } });
    const standIn = await standInOf(house, crm.key, 'wxs');
    expect(await call(house, standIn, '/cgi-bin/ticket/getticket', '&type=jsapi')).toMatchObject({ errcode: 48001 });
  });
});

describe('getticket', () => {
  const PATH = '/cgi-bin/ticket/getticket';

  it.each(['GET', 'POST'])('by %s is answered by the broker, for the types that it keeps', async (method) => {
    const asked: string[] = [];
    const house = await guarded({
      tickets: {
        get: async (appId: string, type: string) => {
          asked.push(`${appId} ${type}`);
          return { value: 'kgt8', id: 'abc', issueTime: 0, expireTime: Date.UTC(2026, 0, 15, 5) };
        },
      },
    });
    const standIn = await standInOf(house, orders.key);
    for (const type of ['jsapi', 'wx_card']) {
      const answered = await ask(`${house.url}${PATH}?access_token=${standIn}&type=${type}`, { method });
      expect(answered).toEqual({
        errcode: 0,
        errmsg: 'ok',
        ticket: 'kgt8',
        expires_in: Math.floor((Date.UTC(2026, 0, 15, 5) - house.clock.now()) / 1000),
      });
    }
    expect(asked).toEqual(['wxc jsapi', 'wxc wx_card']);
    expect(house.audit.of('token.read')).toMatchObject([{ kind: 'jsapi', tokenId: 'abc' }, { kind: 'wx_card' }]);
    expect(house.forwarder.calls).toEqual([]);
    await ask(`${house.url}${PATH}?access_token=${standIn}&type=sdk`, { method });
    expect(house.forwarder.calls).toMatchObject([{ path: PATH }]);
  });

  it('is passed on where the broker keeps none', async () => {
    const house = await guarded();
    await call(house, await standInOf(house, orders.key), PATH, '&type=jsapi');
    expect(house.forwarder.calls).toMatchObject([{ kind: 'business', path: PATH }]);
  });
});

describe('a call that carries a secret', () => {
  const LOGIN = '/sns/jscode2session';
  const query = (secret: string, appid = 'wxs') =>
    `appid=${appid}&secret=${secret}&js_code=c&grant_type=authorization_code`;
  const login = (house: Housed, secret: string, appid?: string) => ask(`${house.url}${LOGIN}?${query(secret, appid)}`);

  it('shows a key, and is passed on for its app', async () => {
    const house = await guarded();
    expect(await login(house, crm.key)).toMatchObject({ errcode: 0 });
    expect(house.forwarder.calls).toEqual([
      { appId: 'wxs', kind: 'secret', path: LOGIN, query: query(crm.key), credential: crm.key },
    ]);
  });

  it.each([
    ['application/json', JSON.stringify({ appid: 'wxc', appsecret: orders.key })],
    ['application/x-www-form-urlencoded', `appid=wxc&appsecret=${orders.key}`],
  ])('in a body of %s', async (type, body) => {
    const house = await guarded();
    const path = '/cgi-bin/clear_quota/v2';
    expect(await ask(`${house.url}${path}`, { method: 'POST', body, headers: { 'content-type': type } })).toMatchObject(
      { errcode: 0 },
    );
    expect(house.forwarder.calls).toMatchObject([{ appId: 'wxc', kind: 'secret', credential: orders.key }]);
    expect(house.forwarder.calls[0]?.body?.toString()).toBe(body);
  });

  it.each([
    ['a wrong key', makeKey('x').key, 'wxs', 40125],
    ['the AppSecret', 'secret of wxs', 'wxs', 40125],
    ['no secret', '', 'wxs', 41004],
    ['no app', crm.key, '', 41002],
    ['an app that is not there', crm.key, 'wxnone', 40013],
    ['an app of others', orders.key, 'wxs', 40013],
  ])('is not with %s', async (_, secret, app, errcode) => {
    const house = await guarded();
    expect((await login(house, secret, app)).errcode).toBe(errcode);
    expect(house.forwarder.calls).toEqual([]);
  });

  it('is not where a rule does not name its path: 48001', async () => {
    const house = await guarded();
    const answered = await ask(`${house.url}/cgi-bin/clear_quota/v2?appid=wxs&appsecret=${crm.key}`, {
      method: 'POST',
    });
    expect(answered).toMatchObject({ errcode: 48001 });
    expect(house.forwarder.calls).toEqual([]);
  });

  it.each([
    ['/sns/jscode2session/', 48001],
    ['/sns/jscode2sessionx', 48001],
    ['/SNS/jscode2session', 48001],
    ['/cgi-bin/clear_quota', 41001],
    ['/cgi-bin/clear_quota/v2/', 41001],
  ])('is no call to %s, which would get an AppSecret that it is not to have', async (path, errcode) => {
    const house = await guarded();
    expect(await ask(`${house.url}${path}?${query(crm.key)}`)).toMatchObject({ errcode });
    expect(house.forwarder.calls).toEqual([]);
  });
});

describe('a drain', () => {
  it('waits for a request that is still coming', async () => {
    const house = await guarded();
    const asked = request(`${house.url}/cgi-bin/stable_token`, { method: 'POST' });
    const body = JSON.stringify({ grant_type: 'client_credential', appid: 'wxc', secret: orders.key });
    const answered = once(asked, 'response');
    const before = house.clock.pending;
    asked.write(body.slice(0, 10));
    await until(() => house.clock.pending > before);
    const drained = house.listener.drain(24_000);
    await house.clock.advance(6_000);
    asked.end(body.slice(10));
    const [response] = await answered;
    expect(JSON.parse(Buffer.concat(await response.toArray()).toString())).toHaveProperty('access_token');
    await drained;
  });
});
