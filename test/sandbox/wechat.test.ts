import { describe, expect, it } from 'vitest';
import type { Condition } from '../../src/sandbox/app.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { FakeClock } from '../support/clock.ts';
import { appId, rig, secret, seeded } from './support.ts';

const second = 1_000;
const minute = 60 * second;
const rid = /rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/;

describe('the classic issuer', () => {
  it('makes a new token at each call', () => {
    const { ask } = rig();
    const first = ask('classic');
    const next = ask('classic');
    expect(first).toEqual({ access_token: expect.stringMatching(/^92_[\w-]{133}$/), expires_in: 7200 });
    expect(next.access_token).not.toBe(first.access_token);
  });

  it('honours the token before the current one for the overlap, to the millisecond', async () => {
    const { clock, token, honours } = rig();
    const first = token('classic');
    await clock.advance(10 * minute);
    const next = token('classic');
    await clock.advance(5 * minute - 1);
    expect(honours(first, next)).toEqual([true, true]);
    await clock.advance(1);
    expect(honours(first, next)).toEqual([false, true]);
  });

  it('with three tokens within the overlap honours only the directly preceding one', async () => {
    const { clock, token, honours } = rig();
    const tokens = [token('classic')];
    await clock.advance(minute);
    tokens.push(token('classic'));
    await clock.advance(minute);
    tokens.push(token('classic'));
    expect(honours(...tokens)).toEqual([false, true, true]);
  });

  it('ends a token that nobody replaces at the end of its life, and never stretches one by an overlap', async () => {
    const { clock, token, honours } = rig({ lifetimeMs: 10 * minute });
    const first = token('classic');
    await clock.advance(8 * minute);
    token('classic');
    await clock.advance(2 * minute - 1);
    expect(honours(first)).toEqual([true]);
    await clock.advance(1);
    expect(honours(first)).toEqual([false]);
  });

  it('loses our token when someone outside mints', async () => {
    const { clock, wechat, token, honours } = rig();
    const ours = token('classic');
    const theirs = wechat.mintOutside(appId, 'classic').value;
    await clock.advance(5 * minute);
    expect(honours(ours, theirs)).toEqual([false, true]);
    expect(wechat.counts(appId)).toMatchObject({ classic: 1, mints: 1, outsideMints: 1 });
  });
});

describe('the stable issuer', () => {
  it('returns the same token with the seconds that remain', async () => {
    const { clock, ask } = rig();
    const first = ask('stable');
    await clock.advance(100 * second + 1);
    expect(ask('stable')).toEqual({ access_token: first.access_token, expires_in: 7099 });
  });

  it('returns a new one in the last overlap of its life, and both live until the old one ends', async () => {
    const { clock, token, honours } = rig();
    const first = token('stable');
    await clock.advance(115 * minute - 1);
    expect(token('stable')).toBe(first);
    await clock.advance(1);
    const next = token('stable');
    expect(next).not.toBe(first);
    expect(token('stable')).toBe(next);
    await clock.advance(5 * minute - 1);
    expect(honours(first, next)).toEqual([true, true]);
    await clock.advance(1);
    expect(honours(first, next)).toEqual([false, true]);
  });

  it('never answers with an expires_in of 0, even without an overlap', async () => {
    const { clock, ask } = rig({ overlapMs: 0 });
    ask('stable');
    await clock.advance(7_200 * second - 1_000);
    expect(ask('stable').expires_in).toBe(1);
    await clock.advance(1);
    expect(ask('stable').expires_in).toBe(7200);
  });

  it('with force_refresh makes a new one and honours the old one for the overlap', async () => {
    const { clock, token, honours } = rig();
    const first = token('stable');
    const next = token('stable_force');
    expect(token('stable')).toBe(next);
    await clock.advance(5 * minute - 1);
    expect(honours(first, next)).toEqual([true, true]);
    await clock.advance(1);
    expect(honours(first, next)).toEqual([false, true]);
  });

  it('kills a leaked token by two forced calls 30 seconds apart', async () => {
    const { clock, token, honours } = rig();
    const leaked = token('stable');
    const second_ = token('stable_force');
    await clock.advance(30 * second);
    expect(honours(leaked)).toEqual([true]);
    const third = token('stable_force');
    expect(honours(leaked, second_, third)).toEqual([false, true, true]);
  });

  it('does not refresh for a forced call less than 30 seconds after a forced refresh', async () => {
    const { clock, wechat, token, ask } = rig();
    const forced = token('stable_force');
    await clock.advance(30 * second - 1);
    expect(token('stable_force')).toBe(forced);
    wechat.changeApp(appId, { forceTooSoon: 45011 });
    expect(ask('stable_force').errcode).toBe(45011);
    // A call that did not refresh does not put the next one off.
    await clock.advance(1);
    expect(token('stable_force')).not.toBe(forced);
  });

  it('does not touch classic tokens, nor they its own', () => {
    const { token, honours } = rig();
    const classic = token('classic');
    const stable = token('stable');
    token('stable_force');
    expect(honours(classic, stable)).toEqual([true, true]);
    token('classic');
    token('classic');
    expect(honours(classic, stable)).toEqual([false, true]);
  });
});

describe('errcodes', () => {
  const cases = [
    [40002, {}, { grantType: 'password' }],
    [40002, {}, { grantType: '' }],
    [41002, {}, { appId: '' }],
    [41004, {}, { secret: '' }],
    [40013, {}, { appId: 'wxunknown' }],
    [40125, {}, { secret: 'wrong' }],
    [40001, { wrongSecret: 40001 as const }, { secret: 'wrong' }],
    [40164, { allowList: ['10.0.0.1'] }, {}],
  ] as const;
  it.each(cases)('%i with %o and %o', (errcode, settings, change) => {
    for (const kind of ['classic', 'stable', 'stable_force'] as const) {
      const { ask, wechat } = rig(settings);
      expect(ask(kind, change)).toEqual({ errcode, errmsg: expect.stringMatching(rid) });
      expect(wechat.counts()).toMatchObject({ [kind]: 1, mints: 0 });
    }
  });

  const conditions: [Condition, number][] = [
    ['secret_frozen', 40243],
    ['account_closed', 50004],
    ['confirmation_required', 89503],
    ['confirmation_pending', 89501],
    ['confirmation_refused', 89507],
    ['confirmation_refused_twice', 89506],
  ];
  it.each(conditions)('%s answers %i until the condition is over', (condition, errcode) => {
    const { ask, wechat } = rig({ condition });
    for (const kind of ['classic', 'stable', 'stable_force'] as const) {
      expect(ask(kind)).toEqual({ errcode, errmsg: expect.stringMatching(rid) });
    }
    wechat.changeApp(appId, { condition: 'normal' });
    expect(ask('classic').access_token).toBeTruthy();
  });

  it('40164 carries the IP, and an allowed one passes in either notation', () => {
    const { ask } = rig({ allowList: ['10.0.0.1'] });
    const { errmsg } = ask('classic', { ip: '::ffff:1.2.3.4' });
    expect(errmsg).toMatch(/^invalid ip 1\.2\.3\.4 ipv6 ::ffff:1\.2\.3\.4, not in whitelist rid: /);
    expect(ask('classic', { ip: '2001:db8::1' }).errmsg).toMatch(/^invalid ip 2001:db8::1 ipv6 2001:db8::1, not/);
    expect(ask('classic', { ip: '::ffff:10.0.0.1' }).access_token).toBeTruthy();
  });

  it('a request that is no call gets its errcode in words with a rid', () => {
    const delivery = rig().wechat.refuse(43002);
    if (delivery.kind !== 'answer') throw new Error(delivery.kind);
    expect(JSON.parse(delivery.text)).toEqual({
      errcode: 43002,
      errmsg: expect.stringMatching(/^require POST .*rid: /),
    });
  });
});

describe('the probe', () => {
  it('accepts both tokens of an overlap and tells a replaced, an expired and an unknown one apart', async () => {
    const { clock, token, probe } = rig();
    const first = token('classic');
    const next = token('classic');
    expect(probe(first).ip_list).toHaveLength(3);
    expect(probe(next).ip_list).toHaveLength(3);
    await clock.advance(5 * minute);
    expect(probe(first).errcode).toBe(40001);
    await clock.advance(115 * minute);
    expect(probe(next).errcode).toBe(42001);
    expect(probe('92_nobody').errcode).toBe(40014);
    expect(probe('').errcode).toBe(41001);
  });

  it('answers 50004 for a closed account', () => {
    const { wechat, token, probe } = rig();
    const value = token('stable');
    wechat.changeApp(appId, { condition: 'account_closed' });
    expect(probe(value).errcode).toBe(50004);
  });
});

describe('quotas', () => {
  it('the classic quota of a day ends with 45009 and resets at midnight in Asia/Shanghai', async () => {
    // The clock begins at 12:00 in Shanghai.
    const { clock, ask, wechat } = rig();
    for (let i = 0; i < 2_000; i++) expect(ask('classic').errcode).toBeUndefined();
    expect(ask('classic').errcode).toBe(45009);
    await clock.advance(12 * 60 * minute - 1);
    expect(ask('classic').errcode).toBe(45009);
    await clock.advance(1);
    expect(ask('classic').errcode).toBeUndefined();
    expect(wechat.counts(appId)).toMatchObject({ classic: 2_003, mints: 2_001 });
  });

  it.each(['classic', 'stable'] as const)(
    'the %s quota of a minute ends with 45011 and resets in the next',
    async (kind) => {
      const { clock, ask, wechat } = rig();
      wechat.changeApp(appId, { quotas: { ...wechat.app(appId).quotas, [`${kind}PerMinute`]: 2 } });
      await clock.advance(59 * second);
      expect([ask(kind), ask(kind), ask(kind)].map(({ errcode }) => errcode)).toEqual([undefined, undefined, 45011]);
      await clock.advance(second);
      expect(ask(kind).errcode).toBeUndefined();
    },
  );

  it('the stable quotas are 10,000 a minute and 500,000 a day', async () => {
    const { clock, ask } = rig();
    for (let i = 0; i < 10_000; i++) expect(ask('stable').errcode).toBeUndefined();
    expect(ask('stable').errcode).toBe(45011);
    for (let i = 1; i < 50; i++) {
      await clock.advance(minute);
      for (let call = 0; call < 10_000; call++) ask('stable');
    }
    await clock.advance(minute);
    expect(ask('stable').errcode).toBe(45009);
  });

  it('forced calls are 20 a day; reads go on, and midnight brings 20 more', async () => {
    const { clock, ask } = rig();
    for (let i = 0; i < 20; i++) {
      expect(ask('stable_force').errcode).toBeUndefined();
      await clock.advance(30 * second);
    }
    expect(ask('stable_force').errcode).toBe(45009);
    expect(ask('stable').errcode).toBeUndefined();
    await clock.advance(12 * 60 * minute);
    expect(ask('stable_force').errcode).toBeUndefined();
  });

  it('a refused call costs nothing', () => {
    const { ask, wechat } = rig();
    wechat.changeApp(appId, { quotas: { ...wechat.app(appId).quotas, classicPerDay: 1 } });
    ask('classic', { secret: 'wrong' });
    expect(ask('classic').errcode).toBeUndefined();
  });
});

describe('killing', () => {
  it('ends the current classic token at once, and with it the one before where all are meant', () => {
    const { wechat, token, honours, probe } = rig();
    const first = token('classic');
    const next = token('classic');
    expect(wechat.kill(appId, { issuer: 'classic', which: 'current' })).toHaveLength(1);
    expect(honours(first, next)).toEqual([true, false]);
    expect(probe(next).errcode).toBe(40001);
    expect(wechat.kill(appId, { issuer: 'classic', which: 'all' }).map(({ value }) => value)).toEqual([first]);
    expect(honours(first, next)).toEqual([false, false]);
  });

  it('makes a stable read return a new token, unless the dead one is stuck until force_refresh', () => {
    const { wechat, token, honours } = rig();
    const first = token('stable');
    wechat.kill(appId, { issuer: 'stable', which: 'current' });
    const next = token('stable');
    expect(next).not.toBe(first);
    wechat.kill(appId, { issuer: 'stable', which: 'current', stuck: true });
    expect(token('stable')).toBe(next);
    expect(honours(next)).toEqual([false]);
    const forced = token('stable_force');
    expect(honours(next, forced)).toEqual([false, true]);
  });
});

describe('apps', () => {
  it('one may change while it runs: a new secret, a new lifetime for new tokens', () => {
    const { ask, wechat } = rig();
    wechat.setApp({ appId, secret: 'new', lifetimeMs: 60 * second });
    expect(ask('classic').errcode).toBe(40125);
    expect(ask('classic', { secret: 'new' }).expires_in).toBe(60);
  });

  it('anyApp takes any app id with any secret, but not without one', () => {
    const wechat = new SimulatedWeChat({ clock: new FakeClock(), random: seeded(), anyApp: true });
    const call = { kind: 'stable', grantType: 'client_credential', appId: 'wxnew', ip: '127.0.0.1' } as const;
    wechat.receive({ ...call, secret: '' });
    wechat.receive({ ...call, secret: 'a' });
    wechat.receive({ ...call, secret: 'b' });
    expect(wechat.calls.map(({ errcode }) => errcode)).toEqual([41004, 0, 0]);
    expect(wechat.counts('wxnew').mints).toBe(1);
  });

  it('values are of the length asked for, and differ even when randomness does not', () => {
    const wechat = new SimulatedWeChat({
      clock: new FakeClock(),
      random: () => 0.5,
      apps: [{ appId, secret, tokenLength: 512 }],
    });
    const values = [wechat.mintOutside(appId, 'classic').value, wechat.mintOutside(appId, 'stable').value];
    expect(values.map(({ length }) => length)).toEqual([512, 512]);
    expect(new Set(values).size).toBe(2);
  });
});

describe('the call log', () => {
  it('has every call with the id of its token, and neither a token nor a secret', () => {
    const { ask, probe, token, wechat } = rig();
    const value = token('classic');
    ask('stable', { secret: 'wrong horse' });
    probe(value);
    const [{ id } = { id: '' }] = wechat.tokens(appId);
    expect(wechat.calls).toEqual([
      { time: wechat.now(), kind: 'classic', appId, errcode: 0, tokenId: id, minted: true, fault: null },
      { time: wechat.now(), kind: 'stable', appId, errcode: 40125, tokenId: null, minted: false, fault: null },
      { time: wechat.now(), kind: 'probe', appId, errcode: 0, tokenId: null, minted: false, fault: null },
    ]);
    const text = JSON.stringify([wechat.calls, wechat.tokens(appId)]);
    expect(text).not.toContain(value);
    expect(text).not.toContain('horse');
  });

  it('forgets tokens that are long dead, and answers 40014 for them', () => {
    const { token, wechat, probe } = rig();
    const first = token('classic');
    for (let i = 0; i < 15; i++) token('classic');
    expect(probe(first).errcode).toBe(40001);
    token('classic');
    expect(probe(first).errcode).toBe(40014);
    expect(wechat.tokens(appId)).toHaveLength(16);
  });
});
