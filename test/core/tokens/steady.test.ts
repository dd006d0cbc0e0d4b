import { describe, expect, it } from 'vitest';
import { settle } from '../../support/clock.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

const quiet = { probeIntervalMs: 0 };

describe('WeChat is not asked again and again', () => {
  it('by an app that went from one issuer to the other and back', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: quiet });
    world.break({ kind: 'latency', ms: 20 });
    for (const issuer of ['classic', 'stable'] as const) {
      world.broker.configure(world.apps.map((app) => ({ ...app, issuer })));
      await world.clock.advance(SECOND);
    }
    const reads = world.counts('wxs').stable;
    await world.clock.advance(10 * SECOND);
    expect(world.counts('wxs').stable - reads).toBeLessThanOrEqual(1);
    expect(world.good('wxs')).toBe(true);
  });

  it('in the middle of the life of a stable token that a read has just confirmed', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: quiet });
    await world.clock.advance(10 * MINUTE);
    world.clock.jump(2 * SECOND);
    world.broker.sweep();
    await world.clock.advance(90 * MINUTE);
    expect(world.counts('wxs').stable).toBeLessThanOrEqual(2);
  });

  it('by all stable apps at once when the clock was set', async () => {
    const apps = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`wx${i}`, 'stable' as const]));
    const world = await World.started({ apps, settings: quiet });
    const calls = world.wechat.calls.length;
    world.clock.jump(5 * SECOND);
    world.broker.sweep();
    await settle();
    expect(world.wechat.calls.length).toBe(calls);
  });

  it('by an operator who insists on an app that has no token', async () => {
    const world = new World({ apps: { wxs: 'stable' } });
    world.break({ kind: 'errcode', errcode: 89503 });
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    for (let i = 0; i < 100; i++) await world.broker.forceRefresh('wxs', undefined).catch(() => undefined);
    expect(world.counts('wxs').stable).toBe(2);
  });

  it('with force_refresh within 30 s, however short the cooldown', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: { ...quiet, cooldownMs: SECOND } });
    await world.broker.forceRefresh('wxs', undefined);
    await world.clock.advance(6 * SECOND);
    await expect(world.broker.forceRefresh('wxs', undefined)).rejects.toMatchObject({
      reason: 'COOLDOWN',
      retryAfterMs: 24 * SECOND,
    });
    expect(world.counts('wxs').stable_force).toBe(1);
  });
});

describe('a dead token that may not be replaced yet', () => {
  it('classic: its schedule goes on, on the reserve of the budget', async () => {
    const world = await World.started({ settings: { dailyBudget: 10, cooldownMs: 0 } });
    for (let i = 0; i < 10; i++) {
      await world.clock.advance(SECOND);
      await world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    }
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'BUDGET_EXHAUSTED' });
    const mints = world.counts().mints;
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    await world.clock.advance(2 * MINUTE);
    expect(world.state().status).toBe('DEGRADED');
    await world.clock.advance(8 * HOUR);
    expect(world.counts().mints).toBeGreaterThan(mints);
    expect(world.counts().mints).toBeLessThanOrEqual(11);
  });

  it('stable: reads go on, and bring what WeChat rotates by itself', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: { forceDailyBudget: 0 } });
    world.wechat.kill('wxs', { issuer: 'stable', which: 'all', stuck: true });
    await world.clock.advance(2 * MINUTE);
    expect(world.state('wxs').status).toBe('DEGRADED');
    await world.clock.advance(2 * HOUR);
    expect(world.good('wxs')).toBe(true);
    expect(world.counts('wxs').stable_force).toBe(0);
  });
});

describe('a broker that drains', () => {
  it('answers a Get that waits for the refresh it lets end', async () => {
    const world = new World();
    world.break({ kind: 'latency', ms: 2 * SECOND });
    await world.broker.start(world.apps);
    const get = Promise.resolve(world.broker.get('wxc'));
    await settle();
    const drained = world.broker.drain(SECOND);
    await world.clock.advance(3 * SECOND);
    expect((await get).current).not.toBeNull();
    await drained;
  });

  it('answers a report of a token that works', async () => {
    const world = await World.started({ settings: quiet });
    world.break({ kind: 'latency', ms: 2 * SECOND });
    const report = world.broker.forceRefresh('wxc', { kind: 'token', token: world.token() });
    await settle();
    const drained = world.broker.drain(SECOND);
    await world.clock.advance(3 * SECOND);
    expect((await report).outcome).toBe('STILL_VALID');
    await drained;
  });

  it('replaces a token as long as users of tokens are at work, and no longer', async () => {
    const world = await World.started({ settings: quiet });
    await world.clock.advance(MINUTE);
    const { promise: users, resolve: end } = Promise.withResolvers<void>();
    const watch = world.broker.watch({ appIds: [], known: new Map() });
    const drained = world.broker.drain(SECOND, users);
    expect([(await watch.next())?.type, (await watch.next())?.type]).toEqual(['state', 'goaway']);
    const token = world.token();
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all', stuck: true });
    const replaced = world.broker.forceRefresh('wxc', { kind: 'token', token });
    await world.clock.advance(SECOND);
    expect((await replaced).outcome).toBe('REFRESHED');
    end();
    await drained;
    await expect(world.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'DRAINING' });
  });

  it('keeps nobody who comes later', async () => {
    const world = await World.started();
    await world.broker.drain(SECOND);
    world.broker.configure([...world.apps, { appId: 'late', secret: 'x', issuer: 'classic' }]);
    await world.clock.advance(HOUR);
    expect(() => world.broker.get('late')).toThrow(expect.objectContaining({ reason: 'APP_NOT_FOUND' }));
    expect(world.clock.pending).toBe(0);
  });
});

describe('P13: a machine that slept', () => {
  it('sends watchers no expired token, neither those who come nor those who are there', async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const world = await World.started({ apps: { wxc: issuer }, settings: quiet });
      const old = world.broker.watch({ appIds: [], known: new Map() });
      await old.next();
      world.break({ kind: 'latency', ms: 2 * SECOND });
      world.clock.sleep(3 * HOUR);
      const fresh = world.broker.watch({ appIds: [], known: new Map() });
      for (const watch of [old, fresh]) {
        expect(await watch.next()).toMatchObject({ type: 'state', state: { status: 'EXPIRED', current: null } });
      }
      await world.clock.advance(5 * SECOND);
      for (const watch of [old, fresh]) {
        expect(await watch.next()).toMatchObject({ type: 'state', state: { status: 'FRESH' } });
        watch[Symbol.dispose]();
      }
    }
  });

  it('is as old as the wall clock says, also in the middle of a call', async () => {
    const world = new World();
    world.break({ kind: 'latency', ms: 2 * SECOND });
    await world.broker.start(world.apps);
    await world.clock.advance(SECOND);
    world.clock.sleep(HOUR);
    await world.clock.advance(2 * SECOND);
    const { current } = await Promise.resolve(world.broker.get('wxc'));
    expect((current?.expireTime ?? 0) - world.clock.now()).toBeLessThanOrEqual(HOUR);
    expect(world.good()).toBe(true);
  });
});
