import { describe, expect, it } from 'vitest';
import { expiresIn } from '../../src/gateway/token-calls.ts';
import { makeKey } from '../support/access-key.ts';
import { ask, driven, fetchStable, fetchToken, type Housed, housed } from '../support/gateway.ts';
import { MINUTE, SECOND } from '../support/world.ts';

const orders = makeKey('orders');
const crm = makeKey('crm');
const RULES = [
  { who: ['key:orders'], may: ['call'], apps: ['wxc'] },
  { who: ['key:crm'], may: ['read'], apps: ['*'] },
] as const;
const guarded = (more = {}) => housed({ keys: [orders, crm], rules: RULES, ...more });

/** Has two callers call for two minutes, while WeChat says of no token whether it is good; and what there was before. */
async function unsaid(house: Housed, call: (key: string) => Promise<unknown>) {
  const before = { token: house.world.token('wxc'), mints: house.world.counts('wxc').mints };
  house.world.break({ kind: 'errcode', errcode: 45009 }, { calls: ['probe'] });
  for (let i = 0; i < 6; i++) {
    for (const { key } of [orders, crm]) await driven(house, call(key));
    await house.clock.advance(20 * SECOND);
  }
  return before;
}

const STAND_IN = { access_token: expect.stringMatching(/^lps1\./), expires_in: 7_200 };

describe('a stand-in', () => {
  it('is handed out at both calls, the same one, and WeChat is not asked', async () => {
    const house = await guarded();
    const before = house.world.counts('wxc');
    const first = await fetchToken(house, 'wxc', orders.key);
    expect(first).toEqual(STAND_IN);
    expect(await fetchStable(house, { appid: 'wxc', secret: orders.key })).toEqual(first);
    expect(house.world.counts('wxc')).toEqual(before);
    expect(house.observed).toEqual([
      { appId: 'wxc', path: '/cgi-bin/token', errcode: 0, cured: false, addedMs: undefined },
      { appId: 'wxc', path: '/cgi-bin/stable_token', errcode: 0, cured: false, addedMs: undefined },
    ]);
    expect(house.authenticated).toEqual(['key ok', 'key ok']);
    expect(house.audit.events).toEqual([]);
  });

  it('is answered as SDKs want it: status 200, JSON, an integer expires_in, no errcode', async () => {
    const house = await guarded();
    const query = `grant_type=client_credential&appid=wxc&secret=${orders.key}`;
    const response = await fetch(`${house.url}/cgi-bin/token?${query}`);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    const body = (await response.json()) as Record<string, unknown>;
    expect(Object.keys(body)).toEqual(['access_token', 'expires_in']);
    expect(Number.isInteger(body['expires_in'])).toBe(true);
  });

  it('is handed out where the base URL ends in a slash, and whatever else is said', async () => {
    const house = await guarded();
    const before = house.world.counts('wxc');
    const query = `grant_type=client_credential&appid=wxc&secret=${orders.key}&neededText=&x=1&force_refresh=1`;
    for (const path of ['//cgi-bin/token', '/cgi-bin//token', '///cgi-bin///token'])
      expect(await ask(`${house.url}${path}?${query}`), path).toEqual(STAND_IN);
    const fields = { appid: 'wxc', secret: orders.key };
    for (const more of [
      { force_refresh: null },
      { force_refresh: '' },
      { force_refresh: false },
      { neededText: '' },
      { a: [] },
    ])
      expect(await fetchStable(house, { ...fields, ...more })).toEqual(STAND_IN);
    const body = JSON.stringify({ grant_type: 'client_credential', ...fields });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect(
        await ask(`${house.url}//cgi-bin/stable_token?x=1`, {
          method: 'POST',
          body,
          headers: { 'content-type': type },
        }),
      ).toEqual(STAND_IN);
    expect(await ask(`${house.url}/cgi-bin/stable_token`, { method: 'POST', body: Buffer.from(body) })).toEqual(
      STAND_IN,
    );
    // None of it is a report.
    expect(house.world.counts('wxc')).toEqual(before);
  });

  it("locally is handed out for any secret, and is nobody's", async () => {
    const house = await housed();
    const one = await fetchToken(house, 'wxc', 'any');
    expect(one).toEqual(STAND_IN);
    expect(await fetchToken(house, 'wxc', '')).toEqual(one);
    expect(await fetchToken(house, 'wxs', 'any')).not.toEqual(one);
  });

  it('goes on being handed out while the app has no token', async () => {
    const house = await guarded({ world: { apps: { wxc: 'classic' }, wechat: {} } });
    house.world.break({ kind: 'errcode', errcode: 40164 });
    expect(await fetchToken(house, 'wxc', orders.key)).toEqual(STAND_IN);
  });
});

describe('force_refresh: true', () => {
  it('is a report of the current token: one that lives stays, and nothing is minted', async () => {
    const house = await guarded();
    const token = house.world.token('wxc');
    const { classic, probe } = house.world.counts('wxc');
    expect(await fetchStable(house, { appid: 'wxc', secret: orders.key, force_refresh: true })).toEqual(STAND_IN);
    expect([house.world.token('wxc'), house.world.counts('wxc')]).toMatchObject([token, { classic, probe: probe + 1 }]);
  });

  it('replaces one that is dead, and the stand-in stays', async () => {
    const house = await guarded();
    await house.clock.advance(MINUTE);
    const token = house.world.token('wxc');
    house.world.wechat.kill('wxc', { issuer: 'classic', which: 'current' });
    expect(await fetchStable(house, { appid: 'wxc', secret: orders.key, force_refresh: true })).toEqual(STAND_IN);
    expect(house.world.token('wxc')).not.toBe(token);
    expect(house.audit.of('token.reported')).toMatchObject([{ appId: 'wxc', outcome: 'REFRESHED' }]);
  });

  it('has no good token replaced where WeChat does not say, however many send it and however often', async () => {
    const house = await housed({ keys: [orders, crm], rules: [{ who: ['key:*'], may: ['call'], apps: ['*'] }] });
    const { token, mints } = await unsaid(house, (key) =>
      fetchStable(house, { appid: 'wxc', secret: key, force_refresh: true }),
    );
    expect([house.world.token('wxc'), house.world.counts('wxc').mints]).toEqual([token, mints]);
  });

  it('is answered all the same where WeChat does not say', async () => {
    const house = await guarded();
    house.world.break({ kind: 'reset', takesEffect: false });
    const answered = driven(house, fetchStable(house, { appid: 'wxc', secret: orders.key, force_refresh: true }));
    expect(await answered).toEqual(STAND_IN);
  });
});

describe('tokens: real', () => {
  it('hands out the token, once WeChat has said that it is good', async () => {
    const house = await guarded({ tokens: 'real' });
    const { classic, probe } = house.world.counts('wxc');
    const answered = await fetchToken(house, 'wxc', crm.key);
    expect(answered.access_token).toBe(house.world.token('wxc'));
    expect(house.world.counts('wxc')).toMatchObject({ classic, probe: probe + 1 });
    const state = house.world.state('wxc');
    expect(house.audit.of('token.read')).toMatchObject([
      { appId: 'wxc', tokenId: state.current?.id, call: { caller: { name: 'key:crm' }, peer: '127.0.0.1' } },
    ]);
    expect(answered.expires_in).toBe(expiresIn(state, house.clock.now(), house.world.settings.overlapMs));
    expect(answered.expires_in).toBeGreaterThan(1_500);
  });

  it('replaces one that WeChat refuses, once for all who fetch', async () => {
    const house = await guarded({ tokens: 'real' });
    await house.clock.advance(MINUTE);
    const dead = house.world.token('wxc');
    const { classic } = house.world.counts('wxc');
    house.world.wechat.kill('wxc', { issuer: 'classic', which: 'current' });
    const all = await driven(house, Promise.all(Array.from({ length: 20 }, () => fetchToken(house, 'wxc', crm.key))));
    expect(new Set(all.map((one) => one.access_token)).size).toBe(1);
    expect(all[0]?.access_token).not.toBe(dead);
    expect(house.world.good('wxc')).toBe(true);
    expect(house.world.counts('wxc')).toMatchObject({ classic: classic + 1 });
  });

  it('needs the verb read, as a stand-in needs call', async () => {
    const real = await guarded({ tokens: 'real' });
    expect(await fetchToken(real, 'wxc', orders.key)).toMatchObject({ errcode: 40013 });
    const standIn = await guarded();
    expect(await fetchToken(standIn, 'wxc', crm.key)).toMatchObject({ errcode: 40013 });
  });

  it('replaces no good one where WeChat does not say, however many fetch it and however often', async () => {
    const rules = [{ who: ['key:*'], may: ['read'], apps: ['*'] }] as const;
    const house = await housed({ tokens: 'real', keys: [orders, crm], rules });
    const { token, mints } = await unsaid(house, (key) => fetchToken(house, 'wxc', key));
    expect(await driven(house, fetchToken(house, 'wxc', crm.key))).toMatchObject({ access_token: token });
    expect([house.world.token('wxc'), house.world.counts('wxc').mints]).toEqual([token, mints]);
  });

  it('hands out the one it has where WeChat does not say, and none that WeChat is known to refuse', async () => {
    const house = await guarded({ tokens: 'real' });
    house.world.break({ kind: 'reset', takesEffect: false });
    const asked = () => driven(house, fetchToken(house, 'wxs', crm.key));
    expect((await asked()).access_token).toBe(house.world.token('wxs'));
    house.world.mend();
    await house.clock.advance(MINUTE);
    // It is found to be dead, and no other can be had.
    house.world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
    house.world.break({ kind: 'reset', takesEffect: false }, { calls: ['stable', 'stable_force'] });
    expect(await asked()).toMatchObject({ errcode: -1, errmsg: expect.stringMatching(/\w+ \w+/) });
    expect(await asked()).toMatchObject({ errcode: -1 });
    house.world.mend();
    await house.clock.advance(5 * MINUTE);
    expect((await asked()).access_token).toBe(house.world.token('wxs'));
    expect(house.world.good('wxs')).toBe(true);
  });
});

describe('expires_in of a real token', () => {
  const now = 1_000_000;
  const at = (expire: number, next: number | null) =>
    expiresIn(
      {
        current: { value: 'v', id: 'i', issueTime: 0, expireTime: now + expire },
        nextRefreshTime: next === null ? null : now + next,
      },
      now,
      5 * MINUTE,
    );
  it.each([
    ['its end, where nothing is planned', 7_200 * SECOND, null, 7_195],
    ['its end, where it is replaced late', 600 * SECOND, 500 * SECOND, 595],
    ['the end of the overlap after the next refresh', 7_200 * SECOND, 3_600 * SECOND, 3_895],
    ['what is left at a refresh that is due', 7_200 * SECOND, 0, 295],
    ['whole seconds, rounded down', 10_999, null, 5],
    ['never 0', 5_000, null, 1],
    ['never less', 0, null, 1],
    ['nor for one whose refresh is late', 60 * SECOND, -10 * MINUTE, 1],
  ])('is %s', (_, expire, next, seconds) => {
    expect(at(expire, next)).toBe(seconds);
  });
});

describe('errors have status 200, an integer errcode and a sentence', () => {
  const token = async (query: string) => {
    const house = await guarded();
    const answered = await ask(`${house.url}/cgi-bin/token?${query}`);
    return { house, answered };
  };
  const Q = 'grant_type=client_credential';

  it.each([
    ['a key that nobody has', `${Q}&appid=wxc&secret=${makeKey('x').key}`, 40125, /key of the broker/],
    ['an AppSecret', `${Q}&appid=wxc&secret=0123456789abcdef0123456789abcdef`, 40125, /never the AppSecret/],
    ['no secret', `${Q}&appid=wxc`, 41004, /appsecret is missing/],
    ['an empty secret', `${Q}&appid=wxc&secret=`, 41004, /appsecret/],
    ['no app', `${Q}&secret=${orders.key}`, 41002, /appid/],
    ['an app that is not there', `${Q}&appid=wxnone&secret=${orders.key}`, 40013, /no such app/],
    ['an app that is not for this caller', `${Q}&appid=wxs&secret=${orders.key}`, 40013, /no such app/],
    ['another grant', `grant_type=x&appid=wxc&secret=${orders.key}`, 40002, /grant_type/],
    ['no grant', `appid=wxc&secret=${orders.key}`, 40002, /grant_type/],
  ])('%s', async (_, query, errcode, errmsg) => {
    const { answered, house } = await token(query);
    expect(answered).toEqual({ errcode, errmsg: expect.stringMatching(errmsg) });
    expect(house.observed).toMatchObject([{ errcode, path: '/cgi-bin/token' }]);
  });

  it('never are 40001 or 42001, for which SDKs ask again without end', async () => {
    for (const secret of ['', 'x', makeKey('x').key, `${orders.key}x`, 'a.b.c', ' ', '\n'])
      for (const appid of ['', 'wxc', 'wxnone', 'x'.repeat(300)]) {
        const house = await guarded();
        const { errcode } = await fetchToken(house, appid, secret);
        expect([40125, 41004]).toContain(errcode);
      }
  });

  it('are alike for an app that is not there and one that is not for this caller', async () => {
    const { answered: unknown } = await token(`${Q}&appid=wxnone&secret=${orders.key}`);
    const { answered: theirs } = await token(`${Q}&appid=wxs&secret=${orders.key}`);
    expect(unknown).toEqual(theirs);
    const house = await guarded();
    expect(await ask(`${house.url}/cgi-bin/token?${Q}&appid=wxnone&secret=${orders.key}`)).toEqual(theirs);
    expect(house.observed[0]?.appId).toBeUndefined();
  });

  it('are those of a body that is none', async () => {
    const house = await guarded();
    const post = (body: string | Buffer) => ask(`${house.url}/cgi-bin/stable_token`, { method: 'POST', body });
    for (const body of [
      '',
      '{',
      '[]',
      'null',
      '"x"',
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      'x'.repeat(20_000),
    ])
      expect(await post(body)).toMatchObject({ errcode: 47001 });
    expect(await fetchStable(house, { appid: 7, secret: orders.key })).toMatchObject({ errcode: 41002 });
    expect(await fetchStable(house, { appid: 'wxc', secret: { a: 1 } })).toMatchObject({ errcode: 41004 });
  });

  it('are those of another method', async () => {
    const house = await guarded();
    expect(await ask(`${house.url}/cgi-bin/token`, { method: 'POST' })).toMatchObject({ errcode: 43001 });
    expect(await ask(`${house.url}/cgi-bin/stable_token`)).toMatchObject({ errcode: 43002 });
  });

  it('are recorded as those of any call, by whom and why', async () => {
    const house = await guarded();
    await fetchToken(house, 'wxs', orders.key);
    await fetchToken(house, 'wxc', makeKey('x').key);
    expect(house.audit.events).toMatchObject([
      { event: 'access.denied', verb: 'call', appId: 'wxs', call: { caller: { name: 'key:orders' } } },
      { event: 'authn.failed', method: 'key', cause: 'the key is unknown or revoked', peer: '127.0.0.1' },
    ]);
    expect(house.authenticated).toEqual(['key ok', 'key invalid']);
  });

  it("are -1 where the trouble is the broker's, and say whose app it is", async () => {
    const house = await housed({
      tokens: 'real',
      keys: [crm],
      rules: RULES,
      world: { apps: { wxc: 'classic' } },
    });
    house.world.break({ kind: 'errcode', errcode: 40125 }, { calls: ['classic'] });
    house.world.wechat.kill('wxc', { issuer: 'classic', which: 'current' });
    const answered = await driven(house, fetchToken(house, 'wxc', crm.key));
    expect(answered).toMatchObject({ errcode: -1, errmsg: expect.stringMatching(/secret/i) });
    expect(answered.access_token).toBeUndefined();
    expect(house.observed).toMatchObject([{ appId: 'wxc', errcode: -1 }]);
  });
});

describe('a caller', () => {
  it('that calls too often is told so, and nobody else is', async () => {
    const house = await guarded({ callsASecond: 2 });
    const all = [];
    for (let i = 0; i < 5; i++) all.push((await fetchToken(house, 'wxc', orders.key)).errcode);
    expect(all).toEqual([undefined, undefined, 45011, 45011, 45011]);
    expect(await fetchToken(house, 'wxc', crm.key)).toMatchObject({ errcode: 40013 });
  });

  it('whose key was revoked, is blocked or has expired gets 40125', async () => {
    const short = makeKey('orders', { expires: Date.UTC(2026, 0, 15, 5) });
    const house = await guarded({ keys: [orders, short] });
    const asked = async (key: string) => (await fetchToken(house, 'wxc', key)).errcode;
    expect(await asked(short.key)).toBeUndefined();
    await house.clock.advance(61 * MINUTE);
    expect([await asked(short.key), await asked(orders.key)]).toEqual([40125, undefined]);
    house.change({ rules: RULES, blocked: [orders.stored.id] });
    expect(await asked(orders.key)).toBe(40125);
    house.change({ keys: [], rules: RULES });
    expect(await asked(orders.key)).toBe(40125);
  });
});
