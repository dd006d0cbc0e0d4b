import { beforeEach, describe, expect, it } from 'vitest';
import { LingpaiError, UpstreamError, type UpstreamReason } from '../../../src/core/kernel/errors.ts';
import { FakeOperatorApi, operatorsOf } from '../../support/operators.ts';
import { World } from '../../support/world.ts';

const ignored = new AbortController().signal;

function failure(reason: UpstreamReason, errcode: number, effect: 'refused' | 'unknown' = 'refused'): UpstreamError {
  const recovery = { kind: 'backoff' } as const;
  return new UpstreamError(`as ${errcode} says`, {
    reason,
    recovery,
    effect,
    answer: { errcode, errmsg: '', rid: '' },
  });
}

const refused = () => failure('TOKEN_REFUSED', 40001);
const spent = () => failure('DAILY_QUOTA_EXHAUSTED', 45009);

let world: World;
let api: FakeOperatorApi;
let cleared: string[];
const make = () => operatorsOf(world, api, (appId) => void cleared.push(appId));
const token = () => [...world.broker.states()][0]?.current?.value ?? '';

beforeEach(async () => {
  world = await World.started({ apps: { wxc: 'classic' } });
  await world.clock.advance(10_000);
  api = new FakeOperatorApi();
  cleared = [];
});

describe('a call by the token', () => {
  it('is made by the one that is current', async () => {
    await expect(make().quota('wxc', '/x', ignored)).resolves.toEqual({ dailyLimit: 10, used: 3, remain: 7 });
    expect(api.calls).toEqual([['quota', token()]]);
  });

  it('that is refused is reported, and the call made once more by its successor', async () => {
    const old = token();
    world.wechat.kill('wxc', { issuer: 'classic', which: 'current', stuck: false });
    api.failures.push(refused());
    await make().request('wxc', '1-2-3', ignored);
    expect(token()).not.toBe(old);
    expect(api.calls).toEqual([
      ['rid', old],
      ['rid', token()],
    ]);
  });

  it('that is refused though WeChat accepts it is not replaced, and the refusal is told', async () => {
    const old = token();
    api.failures.push(refused(), refused());
    const error = await make()
      .quota('wxc', '/x', ignored)
      .catch((thrown: LingpaiError) => thrown);
    expect(error).toMatchObject({ reason: 'TOKEN_REFUSED', appId: 'wxc', answer: { errcode: 40001 } });
    expect([token(), api.calls.length]).toEqual([old, 1]);
  });

  it('whose successor is refused too is made no third time', async () => {
    world.wechat.kill('wxc', { issuer: 'classic', which: 'current', stuck: false });
    api.failures.push(refused(), refused());
    await expect(make().quota('wxc', '/x', ignored)).rejects.toMatchObject({ reason: 'TOKEN_REFUSED' });
    expect(api.calls).toHaveLength(2);
  });

  it('of an app that is not configured is made nowhere', async () => {
    for (const call of [
      make().quota('wxno', '/x', ignored),
      make().request('wxno', '1-2-3', ignored),
      make().clearQuota('wxno', ignored),
      make().probe('wxno', 't', ignored),
    ])
      await expect(call).rejects.toMatchObject({ reason: 'APP_NOT_FOUND' });
    expect([api.calls, cleared]).toEqual([[], []]);
  });

  it('whose caller leaves ends with the reason of that', async () => {
    const leave = new AbortController();
    leave.abort(new Error('left'));
    api.failures.push(failure('UPSTREAM_TIMEOUT', 0, 'unknown'));
    await expect(make().quota('wxc', '/x', leave.signal)).rejects.toThrow('left');
  });
});

describe('clearing a quota', () => {
  it('is asked for by the token, and what waits is told', async () => {
    await expect(make().clearQuota('wxc', ignored)).resolves.toEqual({ errmsg: 'ok', bySecret: false });
    expect(api.calls).toEqual([['clear_quota', token()]]);
    expect(cleared).toEqual(['wxc']);
  });

  it('is asked for by the secret where the quota of token calls is spent and so there is no token', async () => {
    world = await World.started({ apps: { wxc: 'classic' }, wechat: { quotas: { ...QUOTAS, classicPerDay: 0 } } });
    await world.clock.advance(10_000);
    await expect(make().clearQuota('wxc', ignored)).resolves.toEqual({ errmsg: 'ok', bySecret: true });
    expect(api.calls).toEqual([['clear_quota_v2', '']]);
    expect(cleared).toEqual(['wxc']);
  });

  it('is asked for by the secret where its own quota is spent', async () => {
    api.failures.push(spent());
    await expect(make().clearQuota('wxc', ignored)).resolves.toMatchObject({ bySecret: true });
  });

  it.each([
    ['no more clears', () => failure('QUOTA_CLEARS_EXHAUSTED', 48006)],
    ['no answer, after which it may be done', () => failure('UPSTREAM_TIMEOUT', 0, 'unknown')],
  ])('is asked for once: %s', async (_, error) => {
    api.failures.push(error());
    await expect(make().clearQuota('wxc', ignored)).rejects.toBeInstanceOf(LingpaiError);
    expect(api.calls).toHaveLength(1);
    expect(cleared).toEqual([]);
  });
});

const QUOTAS = {
  classicPerDay: 2000,
  classicPerMinute: 2000,
  stablePerDay: 500_000,
  stablePerMinute: 10_000,
  forcedPerDay: 20,
};

describe('a refresh that waits for a quota', () => {
  it('is tried at once when the quota is cleared', async () => {
    world = await World.started({ apps: { wxc: 'classic' }, wechat: { quotas: { ...QUOTAS, classicPerDay: 0 } } });
    await world.clock.advance(10_000);
    const state = () => [...world.broker.states()][0];
    expect(state()?.status).toBe('PENDING');
    world.wechat.setApp({ appId: 'wxc', secret: 'secret of wxc', quotas: QUOTAS });
    await world.clock.advance(60_000);
    expect(state()?.status).toBe('PENDING');
    const operators = operatorsOf(world, api, (appId) => world.broker.retry(appId));
    await operators.clearQuota('wxc', ignored);
    await world.clock.advance(1_000);
    expect(state()?.status).toBe('FRESH');
  });
});

describe('the budget of mints', () => {
  it('is what the broker has spent of each issuer, and when it begins anew', async () => {
    const { dailyBudget, forceDailyBudget } = world.settings;
    const classic = world.broker.mintBudget('wxc', 'classic');
    expect(classic).toMatchObject({ used: 1, dailyLimit: dailyBudget });
    expect(classic.resetTime).toBeGreaterThan(world.clock.now());
    expect(world.broker.mintBudget('wxc', 'stable')).toMatchObject({ used: 0, dailyLimit: forceDailyBudget });
    expect(() => world.broker.mintBudget('wxno', 'stable')).toThrow('no app "wxno" is configured');
  });
});
