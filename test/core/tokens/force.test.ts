import { describe, expect, it } from 'vitest';
import type { ForceResult } from '../../../src/core/tokens/keeper.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

/** No probes, so that every probe counted is a report's. */
const quiet = { settings: { probeIntervalMs: 0 } };

const byToken = (token: string) => ({ kind: 'token', token }) as const;
const byGeneration = (generation: number) => ({ kind: 'generation', generation }) as const;

async function report(world: World, appId = 'wxc', token = world.token(appId)): Promise<ForceResult> {
  const result = world.broker.forceRefresh(appId, byToken(token));
  result.catch(() => undefined); // whoever asked looks later
  await world.clock.advance(0);
  return result;
}

describe('ForceRefresh of a named token', () => {
  it('asks WeChat first: a token that works stays, whatever the client says', async () => {
    const world = await World.started(quiet);
    const before = world.state();
    expect(await report(world)).toEqual({ state: before, outcome: 'STILL_VALID' });
    expect(world.counts()).toMatchObject({ classic: 1, probe: 1 });
  });

  it('believes no verdict that is older than the report: a token that died since is replaced', async () => {
    const world = await World.started(quiet);
    expect((await report(world)).outcome).toBe('STILL_VALID');
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    expect((await report(world)).outcome).toBe('REFRESHED');
    expect(world.good()).toBe(true);
  });

  it("nor a probe's: ten reports of a token that died after it was asked about are all believed", async () => {
    const world = await World.started();
    const { probe } = world.counts();
    while (world.counts().probe === probe) await world.clock.advance(SECOND / 4);
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    const dead = world.token();
    const results = Array.from({ length: 10 }, () => world.broker.forceRefresh('wxc', byToken(dead)));
    await world.clock.advance(0);
    for (const { outcome } of await Promise.all(results)) expect(['REFRESHED', 'JOINED']).toContain(outcome);
    expect(world.counts()).toMatchObject({ probe: probe + 2, classic: 2 });
  });

  it('nor one that was on its way when the report came; those that wait share the next', async () => {
    const world = await World.started(quiet);
    const token = world.token();
    world.break({ kind: 'latency', ms: SECOND }, { count: 1 });
    const early = report(world);
    await world.clock.advance(SECOND / 2);
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    const late = Array.from({ length: 5 }, () => world.broker.forceRefresh('wxc', byToken(token)));
    await world.clock.advance(SECOND);
    expect((await early).outcome).toBe('STILL_VALID');
    for (const { outcome } of await Promise.all(late)) expect(['REFRESHED', 'JOINED']).toContain(outcome);
    expect(world.counts()).toMatchObject({ probe: 2, classic: 2 });
  });

  it('asks a few times at once and then every 2 s, and answers all who report', async () => {
    const world = await World.started(quiet);
    const answers: string[] = [];
    for (let i = 0; i < 15; i++) {
      const late = world.broker
        .forceRefresh('wxc', byToken(world.token()))
        .then(({ outcome }) => answers.push(outcome));
      await world.clock.advance(100);
      if (i < 5) await late;
    }
    expect(world.counts().probe).toBe(5);
    await world.clock.advance(2 * SECOND);
    expect(answers).toEqual(Array.from({ length: 15 }, () => 'STILL_VALID'));
    expect(world.counts().probe).toBe(6);
  });

  it('nobody waits for a turn at a broker that stops, and no timer is left', async () => {
    const world = await World.started(quiet);
    for (let i = 0; i < 5; i++) await report(world);
    const waiting = Array.from({ length: 3 }, () => world.broker.forceRefresh('wxc', byToken(world.token())));
    const ends = Promise.allSettled(waiting);
    await world.clock.advance(0);
    await world.broker.stop();
    for (const end of await ends) expect(end).toMatchObject({ reason: { reason: 'DRAINING' } });
    expect(world.clock.pending).toBe(0);
  });

  it('replaces a dead one at once: by value or by generation, also soon after the last mint', async () => {
    for (const name of ['value', 'generation'] as const) {
      const world = await World.started(quiet);
      const dead = world.state();
      world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
      const rejected = name === 'value' ? byToken(dead.current?.value ?? '') : byGeneration(dead.generation);
      const result = await world.broker.forceRefresh('wxc', rejected);
      expect(result.outcome).toBe('REFRESHED');
      expect(result.state.generation).toBeGreaterThan(dead.generation);
      expect(result.state.previous).toBeNull();
      expect(world.good()).toBe(true);
    }
  });

  it('is refused so soon after a mint whose answer was lost, and puts off no attempt that is planned', async () => {
    const world = await World.started(quiet);
    const dead = world.token();
    world.wechat.changeApp('wxc', { overlapMs: 0 });
    world.break({ kind: 'reset', takesEffect: true }, { count: 1 });
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    await expect(world.broker.forceRefresh('wxc', byToken(dead))).rejects.toMatchObject({ reason: 'COOLDOWN' });
    const told = world.seen('refresh_failed').map(({ retryInMs }) => retryInMs ?? Infinity);
    expect(told).toHaveLength(2);
    expect(Math.max(...told)).toBeLessThanOrEqual(5 * SECOND);
    await world.clock.advance(5 * SECOND);
    expect(world.good()).toBe(true);
    expect(world.counts().classic).toBe(3);
  });

  it('shows no previous token where another came between the forced call and the read', async () => {
    for (const isRevoked of [true, false]) {
      const world = await World.started({ apps: { wxs: 'stable' }, ...quiet });
      const { generation, current } = world.state('wxs');
      world.break({ kind: 'latency', ms: SECOND }, { calls: ['stable_force'] });
      const forced = world.broker.forceRefresh('wxs', undefined);
      await world.clock.advance(SECOND / 2);
      if (isRevoked) world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
      await world.clock.advance(5 * SECOND);
      expect((await forced).state.generation).toBeGreaterThan(generation);
      expect(world.state('wxs').previous?.value).toBe(isRevoked ? undefined : current?.value);
      expect(world.good('wxs')).toBe(true);
    }
  });

  it('P6: a hundred reports of one dead token make one mint, and reports of an older one none', async () => {
    const world = await World.started(quiet);
    const dead = world.token();
    const generation = world.state().generation;
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    world.break({ kind: 'latency', ms: SECOND });
    const results = Array.from({ length: 100 }, () => world.broker.forceRefresh('wxc', byToken(dead)));
    await world.clock.advance(3 * SECOND);
    const outcomes = (await Promise.all(results)).map((result) => result.outcome);
    expect(outcomes.filter((outcome) => outcome === 'REFRESHED')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'JOINED')).toHaveLength(99);
    expect(world.counts()).toMatchObject({ classic: 2, probe: 1 });
    const calls = world.wechat.calls.length;
    expect((await report(world, 'wxc', dead)).outcome).toBe('ALREADY_NEWER');
    expect((await world.broker.forceRefresh('wxc', byGeneration(generation))).outcome).toBe('ALREADY_NEWER');
    expect(world.wechat.calls.length).toBe(calls);
  });

  it('a late report of an older token costs nothing, also when the cooldown is over', async () => {
    const world = await World.started(quiet);
    const old = world.token();
    await world.broker.forceRefresh('wxc', undefined);
    await world.clock.advance(MINUTE);
    const state = world.state();
    const calls = world.wechat.calls.length;
    expect(await report(world, 'wxc', old)).toEqual({ state, outcome: 'ALREADY_NEWER' });
    expect(world.wechat.calls.length).toBe(calls);
  });

  it('refuses a generation that was never published', async () => {
    const world = await World.started(quiet);
    await expect(world.broker.forceRefresh('wxc', byGeneration(world.state().generation + 1))).rejects.toMatchObject({
      reason: 'INVALID_REQUEST',
      violations: [{ field: 'rejected_generation' }],
    });
  });

  it('keeps the token when WeChat cannot be asked, and says when to try again', async () => {
    const world = await World.started(quiet);
    const before = world.state();
    world.break({ kind: 'refused' });
    await expect(report(world)).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', retryAfterMs: 15 * SECOND });
    expect(world.counts()).toMatchObject({ probe: 1, classic: 1 });
    expect(world.state()).toMatchObject({ generation: before.generation, current: before.current, status: 'DEGRADED' });
  });

  it('does not mint twice within the cooldown, counted from the attempt, and mints by itself when it ends', async () => {
    const world = await World.started(quiet);
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    expect((await report(world)).outcome).toBe('REFRESHED');
    await world.clock.advance(10 * SECOND);
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    await expect(report(world)).rejects.toMatchObject({ reason: 'COOLDOWN', retryAfterMs: 20 * SECOND });
    expect(world.state().status).toBe('DEGRADED');
    const calls = world.wechat.calls.length;
    for (let i = 0; i < 100; i++) await expect(report(world)).rejects.toMatchObject({ reason: 'COOLDOWN' });
    expect(world.wechat.calls.length).toBe(calls);
    await world.clock.advance(20 * SECOND);
    expect(world.good()).toBe(true);
    expect(world.state().status).toBe('FRESH');
  });

  it('counts the cooldown from attempts that failed, too', async () => {
    const world = await World.started(quiet);
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    world.break({ kind: 'errcode', errcode: -1 }, { calls: ['classic'] });
    await expect(report(world)).rejects.toMatchObject({ reason: 'UPSTREAM_BUSY' });
    const minted = world.counts().classic;
    for (let i = 0; i < 50; i++) await report(world).catch(() => undefined);
    expect(world.counts().classic).toBe(minted);
  });

  it('joins a scheduled refresh that is on its way', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    world.break({ kind: 'latency', ms: 4 * SECOND });
    const first = world.token();
    while (world.counts().classic === 1) await world.clock.advance(SECOND);
    const result = world.broker.forceRefresh('wxc', byToken(first));
    await world.clock.advance(5 * SECOND);
    expect((await result).outcome).toBe('JOINED');
    expect(world.counts().probe).toBe(0);
  });
});

describe('ForceRefresh of a stable token', () => {
  const apps = { wxs: 'stable' } as const;

  it('takes what a read returns when that is another token', async () => {
    const world = await World.started({ apps, ...quiet });
    world.wechat.mintOutside('wxs', 'stable');
    world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
    world.wechat.mintOutside('wxs', 'stable');
    await report(world, 'wxs');
    expect(world.good('wxs')).toBe(true);
    expect(world.counts('wxs').stable_force).toBe(0);
  });

  it('forces only when a read returns the very token that is dead, and reads back', async () => {
    const world = await World.started({ apps, ...quiet });
    world.wechat.kill('wxs', { issuer: 'stable', which: 'all', stuck: true });
    const before = world.counts('wxs').stable;
    expect((await report(world, 'wxs')).outcome).toBe('REFRESHED');
    expect(world.counts('wxs')).toMatchObject({ stable_force: 1, stable: before + 2 });
    expect(world.good('wxs')).toBe(true);
  });

  it('stays within the budget for force_refresh', async () => {
    const world = await World.started({ apps, settings: { forceDailyBudget: 3 } });
    for (let i = 0; i < 6; i++) {
      await world.clock.advance(31 * SECOND);
      await Promise.resolve(world.broker.forceRefresh('wxs', undefined)).catch(() => undefined);
    }
    expect(world.counts('wxs').stable_force).toBe(3);
    await expect(world.broker.forceRefresh('wxs', undefined)).rejects.toMatchObject({ reason: 'BUDGET_EXHAUSTED' });
    expect(world.good('wxs')).toBe(true);
  });
});

describe('ForceRefresh with nothing named', () => {
  it('mints without asking, keeps the old token in grace, and not again within the cooldown', async () => {
    const world = await World.started(quiet);
    const before = world.token();
    const result = await world.broker.forceRefresh('wxc', undefined);
    expect(result).toMatchObject({ outcome: 'REFRESHED', state: { previous: { value: before } } });
    expect(world.counts()).toMatchObject({ classic: 2, probe: 0 });
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'COOLDOWN' });
  });

  it('counts the cooldown from the attempt, also from one that WeChat refused', async () => {
    const world = await World.started(quiet);
    world.break({ kind: 'errcode', errcode: -1 });
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'UPSTREAM_BUSY' });
    for (let i = 0; i < 10; i++) {
      await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'COOLDOWN' });
    }
    expect(world.counts().classic).toBe(2);
  });

  it('tries at once what waits for an operator', async () => {
    const world = new World();
    world.break({ kind: 'errcode', errcode: 40164, errmsg: 'invalid ip 1.2.3.4, not in whitelist' }, { count: 1 });
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    expect((await world.broker.forceRefresh('wxc', undefined)).outcome).toBe('REFRESHED');
  });

  it('does not show a token as previous that a lost mint has displaced', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    const first = world.token();
    world.break({ kind: 'reset', takesEffect: true }, { count: 1 });
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    expect(world.state()).toMatchObject({ status: 'DEGRADED', current: { value: first } });
    await world.clock.advance(5 * SECOND);
    expect(world.state()).toMatchObject({ status: 'FRESH', previous: null });
    expect(world.good()).toBe(true);
    expect(world.wechat.honours('wxc', first)).toBe(false);
  });
});

describe('P8: a client that asks 100 times a second for five minutes', () => {
  /** Less for the day than the cooldown allows in five minutes: 8 mints that are not on the schedule, and 6 forced ones. */
  const tight = { dailyBudget: 10, forceDailyBudget: 6 };

  it.each([
    ['naming the current token', true, {}, { classic: 1, stable_force: 0 }],
    ['naming none, by the cooldown', false, {}, { classic: 11, stable_force: 10 }],
    ['naming none, by the budgets of the day', false, tight, { classic: 8, stable_force: 6 }],
  ])('%s stays within its limits and hurts no other app', async (_, named, settings, most) => {
    const apps = { wxc: 'classic', wxs: 'stable', other: 'classic' } as const;
    const world = await World.started({ apps, settings });
    for (let i = 0; i < 300; i++) {
      for (const appId of ['wxc', 'wxs']) {
        const rejected = named ? byToken(world.token(appId)) : undefined;
        for (let n = 0; n < 100; n++) world.broker.forceRefresh(appId, rejected).catch(() => undefined);
      }
      await world.clock.advance(SECOND);
    }
    const { classic } = world.counts('wxc');
    // The limits are reached, and not passed.
    expect({ classic, stable_force: world.counts('wxs').stable_force }).toEqual(most);
    for (const appId of ['wxc', 'wxs']) expect(world.counts(appId).probe).toBeLessThanOrEqual(165);
    expect(world.counts('other').classic).toBe(1);
    for (const appId of ['wxc', 'wxs', 'other']) expect(world.good(appId)).toBe(true);
  });
});

describe('the probe', () => {
  it('finds a token that someone outside has replaced before any client complains, and says so', async () => {
    const world = await World.started();
    const generation = world.state().generation;
    world.wechat.mintOutside('wxc', 'classic');
    await world.clock.advance(7 * MINUTE);
    expect(world.good()).toBe(true);
    expect(world.state()).toMatchObject({ status: 'FRESH', statusReason: expect.stringContaining('another program') });
    expect(world.state().generation).toBeGreaterThan(generation);
    expect(world.seen('outside_mint')).toHaveLength(1);
    await world.clock.advance(2 * HOUR);
    expect(world.state().statusReason).toBe('');
  });

  it('blames nobody when the broker itself lost the mint', async () => {
    const world = await World.started();
    world.break({ kind: 'reset', takesEffect: true }, { count: 1, calls: ['classic'] });
    await world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await world.clock.advance(10 * MINUTE);
    expect(world.seen('outside_mint')).toHaveLength(0);
    expect(world.good()).toBe(true);
  });

  it('probes once an interval, and probes that fail change no token', async () => {
    const world = await World.started();
    const before = world.state();
    world.break({ kind: 'hang', takesEffect: false }, { calls: ['probe'] });
    await world.clock.advance(10 * MINUTE);
    expect(world.counts().probe).toBeGreaterThanOrEqual(9);
    expect(world.counts().probe).toBeLessThanOrEqual(11);
    expect(world.state()).toMatchObject({ generation: before.generation, status: 'FRESH' });
  });

  it('is off at 0', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    await world.clock.advance(30 * MINUTE);
    expect(world.counts().probe).toBe(0);
  });
});
