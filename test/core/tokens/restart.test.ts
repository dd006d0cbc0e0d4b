import { describe, expect, it } from 'vitest';
import { settle } from '../../support/clock.ts';
import type { ProcessDeps } from '../../support/process.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

describe('a restart', () => {
  it('P10: costs no call when the stored token is good, and goes on with its generation', async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const world = await World.started({ apps: { wxc: issuer } });
      const before = world.state();
      const calls = world.wechat.calls.length;
      await world.crash(5 * MINUTE);
      expect(world.state().generation).toBe(before.generation);
      expect(world.state().current).toEqual(before.current);
      expect(world.broker.get('wxc')).toBe(world.state());
      await world.clock.advance(30 * SECOND);
      expect(world.wechat.calls.length - calls).toBeLessThanOrEqual(1); // the probe
      expect(world.counts().mints).toBe(1);
    }
  });

  it('keeps the grace of the previous token', async () => {
    const world = await World.started();
    await world.broker.forceRefresh('wxc', undefined);
    const previous = world.state().previous;
    await world.crash(MINUTE);
    expect(world.state().previous).toEqual(previous);
    await world.clock.advance(4 * MINUTE);
    expect(world.state().previous).toBeNull();
  });

  it('P10: after kill -9 between the mint and its record, mints once and ends on a good token', async () => {
    const world = await World.started();
    world.break({ kind: 'latency', ms: 2 * SECOND });
    world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await world.clock.advance(SECOND);
    expect(world.counts().mints).toBe(2);
    world.mend();
    await world.crash();
    await world.clock.advance(5 * SECOND);
    expect(world.counts().mints).toBe(3);
    expect(world.good()).toBe(true);
  });

  it('P10: a token is durable before anyone sees it', async () => {
    const written = Promise.withResolvers<void>();
    let newest = Number.POSITIVE_INFINITY;
    const tap = ({ store, ...deps }: ProcessDeps): ProcessDeps => ({
      ...deps,
      store: {
        load: () => store.load(),
        close: () => store.close(),
        save: async (app) => {
          if (app.generation > newest) await written.promise;
          await store.save(app);
        },
      },
    });
    const world = await World.started({ tap });
    const before = world.state();
    newest = before.generation;
    const asked = world.broker.forceRefresh('wxc', undefined);
    await settle();
    expect(world.wechat.honours('wxc', before.current?.value ?? '')).toBe(true);
    expect(world.counts('wxc').classic).toBe(2); // WeChat has minted
    expect([world.state().generation, world.token()]).toEqual([before.generation, before.current?.value]);
    written.resolve();
    await asked;
    expect(world.store.records.get('wxc')?.current?.value).toBe(world.token());
    expect(world.token()).not.toBe(before.current?.value);
  });

  it('persists budgets, spent before the call', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: { forceDailyBudget: 2 } });
    for (let i = 0; i < 4; i++) {
      await world.broker.forceRefresh('wxs', undefined).catch(() => undefined);
      await world.crash(31 * SECOND);
    }
    expect(world.counts('wxs').stable_force).toBe(2);
  });

  it('P10: a crash loop in the middle of mints keeps within the budget', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: { forceDailyBudget: 2 } });
    world.break({ kind: 'latency', ms: 2 * SECOND }, { calls: ['stable_force'] });
    for (let i = 0; i < 4; i++) {
      world.broker.forceRefresh('wxs', undefined).catch(() => undefined);
      await world.clock.advance(SECOND);
      await world.crash(31 * SECOND);
    }
    expect(world.counts('wxs').stable_force).toBe(2);
  });

  it('P2: the generation never falls, not even when the store was lost or rolled back', async () => {
    const world = await World.started();
    const early = world.store.records.get('wxc');
    await world.clock.advance(3 * HOUR);
    const generation = world.state().generation;
    for (const record of [early, undefined]) {
      await world.kill();
      if (record) world.store.records.set('wxc', record);
      else world.store.records.clear();
      await world.crash();
      await world.clock.advance(10 * SECOND);
      expect(world.state().generation).toBeGreaterThan(generation);
    }
  });

  it('fetches again when the token died while nobody ran', async () => {
    const world = await World.started();
    await world.crash(3 * HOUR);
    await world.clock.advance(10 * SECOND);
    expect(world.state().status).toBe('FRESH');
    expect(world.good()).toBe(true);
  });

  it('draining waits for the mint in progress and stores it', async () => {
    const world = await World.started();
    world.break({ kind: 'latency', ms: 2 * SECOND });
    const forced = world.broker.forceRefresh('wxc', undefined);
    await settle();
    let drained = false;
    const draining = world.broker.drain(1000).then(() => {
      drained = true;
    });
    await world.clock.advance(SECOND);
    expect(drained).toBe(false);
    await world.clock.advance(2 * SECOND);
    await draining;
    expect((await forced).outcome).toBe('REFRESHED');
    expect(world.store.records.get('wxc')?.current?.value).toBe(world.token());
    expect(world.clock.pending).toBe(0);
  });
});

describe('a reload', () => {
  it('adds, removes and changes apps while running', async () => {
    const world = await World.started();
    const watch = world.broker.watch({ appIds: [], known: new Map() });
    expect(await watch.next()).toMatchObject({ type: 'state', state: { appId: 'wxc' } });
    world.wechat.setApp({ appId: 'wxn', secret: 'new' });
    world.broker.configure([...world.apps, { appId: 'wxn', secret: 'new', issuer: 'stable' }]);
    await world.clock.advance(10 * SECOND);
    expect(await watch.next()).toMatchObject({ type: 'state', state: { appId: 'wxn', status: 'FRESH' } });
    world.broker.configure(world.apps.slice(0, 1));
    expect(await watch.next()).toEqual({ type: 'removed', appId: 'wxn' });
    expect(() => world.broker.get('wxn')).toThrow(expect.objectContaining({ reason: 'APP_NOT_FOUND' }));
    watch[Symbol.dispose]();
  });

  it('fails those who wait for an app that is taken out', async () => {
    const world = new World();
    world.break({ kind: 'hang', takesEffect: false });
    await world.broker.start(world.apps);
    const get = expect(world.broker.get('wxc')).rejects.toMatchObject({ reason: 'APP_NOT_FOUND' });
    await settle();
    world.broker.configure([]);
    await settle();
    await get;
    expect(world.clock.pending).toBe(0);
  });

  it('an app that comes back goes on with its token and generation', async () => {
    const world = await World.started();
    const before = world.state();
    world.broker.configure([]);
    await world.clock.advance(MINUTE);
    world.broker.configure(world.apps);
    expect(world.state()).toMatchObject({ generation: before.generation, current: before.current });
    expect(world.counts().mints).toBe(1);
  });

  it('moves from one issuer to the other without losing the token', async () => {
    const world = await World.started();
    const before = world.token();
    const expiry = world.state().current?.expireTime;
    world.broker.configure(world.apps.map((app) => ({ ...app, issuer: 'stable' })));
    await world.clock.advance(SECOND);
    expect(world.token()).not.toBe(before);
    expect(world.good()).toBe(true);
    expect(world.state().previous).toMatchObject({ value: before, expireTime: expiry });
  });
});

describe('P13: clocks', () => {
  it.each([HOUR, -HOUR])('a wall clock set by %i ms costs no good token and no wrong expiry', async (byMs) => {
    for (const issuer of ['classic', 'stable'] as const) {
      const world = await World.started({ apps: { wxc: issuer } });
      await world.clock.advance(30 * MINUTE);
      const generation = world.state().generation;
      world.clock.jump(byMs);
      expect(world.broker.get('wxc')).toBeDefined();
      world.broker.sweep();
      for (let i = 0; i < 4 * 60; i++) {
        await world.clock.advance(MINUTE);
        expect(world.good()).toBe(true);
        expect(world.state().status).toBe('FRESH');
      }
      expect(world.state().generation).toBeGreaterThan(generation);
      expect(world.counts().mints).toBeLessThanOrEqual(7);
    }
  });

  it('a wall clock that is set back lengthens no life, though nobody probes', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, settings: { probeIntervalMs: 0 } });
    await world.clock.advance(30 * MINUTE);
    world.clock.jump(-HOUR);
    world.broker.sweep();
    for (let i = 0; i < 2 * 60; i++) {
      await world.clock.advance(MINUTE);
      expect(world.good('wxs')).toBe(true);
    }
  });

  it('shows expiry by the new wall clock after it was set back', async () => {
    const world = await World.started();
    const before = world.state().current?.expireTime ?? 0;
    world.clock.jump(-HOUR);
    world.broker.sweep();
    expect(world.state().current?.expireTime).toBe(before - HOUR);
  });

  it('after three hours of sleep no expired token is handed out, not even before the sweep', async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const world = await World.started({ apps: { wxc: issuer } });
      const old = world.token();
      world.clock.sleep(3 * HOUR);
      const got = Promise.resolve(world.broker.get('wxc'));
      await world.clock.advance(SECOND);
      expect((await got).current?.value).not.toBe(old);
      expect(world.good()).toBe(true);
      expect(world.seen('outside_mint')).toHaveLength(0);
    }
  });

  it('after a jump past the expiry asks WeChat, and keeps a token that it accepts', async () => {
    const world = await World.started();
    const before = world.token();
    world.clock.jump(3 * HOUR);
    world.broker.sweep();
    await world.clock.advance(SECOND);
    expect(world.token()).toBe(before);
    expect(world.counts().mints).toBe(1);
    expect(world.state().status).toBe('FRESH');
  });

  it('withholds a token that may be dead while WeChat cannot be asked, and gives it back when it can', async () => {
    const world = await World.started();
    const before = world.token();
    world.break({ kind: 'refused' });
    world.clock.jump(3 * HOUR);
    world.broker.sweep();
    await world.clock.advance(SECOND);
    expect(world.state()).toMatchObject({ status: 'EXPIRED', current: null });
    await expect(world.broker.get('wxc')).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    world.mend();
    await world.clock.advance(20 * SECOND);
    expect(world.token()).toBe(before);
  });

  it('Get hands out no expired token, though every timer was lost', async () => {
    const world = await World.started();
    const old = world.token();
    world.clock.forgetTimers();
    await world.clock.advance(3 * HOUR);
    const got = await world.broker.get('wxc');
    expect(got.current?.value).not.toBe(old);
    expect(world.good()).toBe(true);
  });

  it('a sweep does what a lost timer left behind', async () => {
    const world = await World.started();
    const generation = world.state().generation;
    world.clock.forgetTimers();
    await world.clock.advance(90 * MINUTE);
    expect(world.state().generation).toBe(generation);
    world.broker.sweep();
    await world.clock.advance(SECOND);
    expect(world.state().generation).toBeGreaterThan(generation);
  });
});

it('a cold start of many apps is spread over time, but an app that is asked for is fetched at once', async () => {
  const apps = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`wx${i}`, 'classic' as const]));
  const world = new World({ apps });
  await world.broker.start(world.apps);
  const asked = Promise.resolve(world.broker.get('wx7'));
  await settle();
  expect((await asked).current).not.toBeNull();
  expect(world.wechat.calls.length).toBeLessThan(20);
  await world.clock.advance(500);
  expect(world.wechat.calls.length).toBeGreaterThan(150);
  expect(world.wechat.calls.length).toBeLessThan(350);
  await world.clock.advance(SECOND);
  for (const state of world.broker.states()) expect(state.status).toBe('FRESH');
});

it('leaves no timer when stopped', async () => {
  const world = await World.started({ apps: { wxc: 'classic', wxs: 'stable' } });
  const watch = world.broker.watch({ appIds: [], known: new Map() });
  await watch.next();
  const waiting = Promise.all([watch.next(), watch.next()]).catch(() => undefined);
  await settle();
  await world.broker.stop();
  await waiting;
  expect(world.clock.pending).toBe(0);
  expect(world.broker.watchers).toBe(0);
});
