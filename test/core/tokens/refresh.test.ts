import { describe, expect, it } from 'vitest';
import type { LingpaiError } from '../../../src/core/kernel/errors.ts';
import type { Grant } from '../../../src/core/tokens/ports.ts';
import type { ProcessDeps } from '../../support/process.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

describe('a classic app', () => {
  it('fetches its first token once, however many ask for it (P6)', async () => {
    const world = new World();
    await world.broker.start(world.apps);
    const gets = Array.from({ length: 50 }, () => world.broker.get('wxc'));
    await world.clock.advance(1 * SECOND);
    const states = await Promise.all(gets);
    expect(new Set(states.map((state) => state.current?.id)).size).toBe(1);
    expect(world.counts().classic).toBe(1);
  });

  it('is refreshed at about half its life, and its predecessor is shown for exactly the overlap (P5)', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    const first = world.token();
    const firstGeneration = world.state().generation;
    await world.clock.advance(50 * MINUTE);
    expect(world.token()).toBe(first);
    while (world.state().generation === firstGeneration) await world.clock.advance(1 * SECOND);
    const life = world.clock.now() - (world.state().previous?.issueTime ?? 0);
    expect(life / HOUR).toBeGreaterThan(0.89);
    expect(life / HOUR).toBeLessThan(1.11);
    expect(world.state().previous?.value).toBe(first);
    for (let s = 0; s < 6 * 60; s++) {
      await world.clock.advance(1 * SECOND);
      const shown = world.state().previous !== null;
      expect({ second: s, shown }).toEqual({ second: s, shown: world.wechat.honours('wxc', first) });
    }
    expect(world.state().previous).toBeNull();
    expect(world.counts().mints).toBe(2);
  });

  it('spends about 24 mints on a quiet day', async () => {
    const world = await World.started();
    await world.clock.advance(24 * HOUR);
    expect(world.counts().mints).toBeGreaterThanOrEqual(22);
    expect(world.counts().mints).toBeLessThanOrEqual(27);
  });

  it('serves the old token whole while the refresh is on its way', async () => {
    const world = await World.started();
    const before = world.token();
    world.break({ kind: 'latency', ms: 4 * SECOND });
    const forced = world.broker.forceRefresh('wxc', undefined);
    await world.clock.advance(3 * SECOND);
    expect(world.token()).toBe(before);
    await world.clock.advance(2 * SECOND);
    expect((await forced).outcome).toBe('REFRESHED');
    expect(world.token()).not.toBe(before);
  });

  it('counts the life of a token from before the request left', async () => {
    const world = new World();
    world.break({ kind: 'latency', ms: 4 * SECOND });
    await world.broker.start(world.apps);
    const asked = world.broker.get('wxc');
    const before = world.clock.now();
    await world.clock.advance(5 * SECOND);
    expect((await asked).current?.expireTime).toBe(before + 2 * HOUR);
  });
});

describe('the moment of a refresh', () => {
  it.each(['classic', 'stable'] as const)('is drawn once per generation (%s)', async (issuer) => {
    const world = await World.started({ apps: { wx: issuer }, settings: { probeIntervalMs: 0 } });
    const planned = world.state('wx').nextRefreshTime;
    for (let i = 0; i < 20; i++) {
      await world.clock.advance(1 * MINUTE);
      world.broker.sweep();
      expect(world.state('wx').nextRefreshTime).toBe(planned);
    }
  });
});

describe('a stable app', () => {
  const apps = { wxs: 'stable' } as const;

  it('is read, not polled, until the overlap; then until its successor comes, which is a new generation', async () => {
    const world = await World.started({ apps, settings: { probeIntervalMs: 0 } });
    const first = world.token('wxs');
    await world.clock.advance(114 * MINUTE);
    expect(world.counts('wxs').stable).toBe(1);
    await world.clock.advance(2 * MINUTE);
    expect(world.token('wxs')).not.toBe(first);
    expect(world.state('wxs').previous?.value).toBe(first);
    expect(world.good('wxs')).toBe(true);
    expect(world.counts('wxs').stable_force).toBe(0);
  });

  it('does not take the same token for a new generation', async () => {
    // WeChat begins its overlap later than the broker thinks.
    const world = await World.started({ apps, wechat: { overlapMs: 2 * MINUTE } });
    const generation = world.state('wxs').generation;
    await world.clock.advance(117 * MINUTE);
    expect(world.counts('wxs').stable).toBeGreaterThan(5);
    expect(world.state('wxs').generation).toBe(generation);
    expect(world.state('wxs').status).toBe('FRESH');
    await world.clock.advance(2 * MINUTE);
    expect(world.state('wxs').generation).toBeGreaterThan(generation);
  });

  it('is not taken back by an older answer', async () => {
    let lagging: Grant | undefined;
    const tap = (deps: ProcessDeps): ProcessDeps => ({
      ...deps,
      wechat: {
        probe: (token, signal) => deps.wechat.probe(token, signal),
        fetchToken: async (app, call, signal) => lagging ?? (await deps.wechat.fetchToken(app, call, signal)),
      },
    });
    const world = await World.started({ apps, tap });
    const first = world.state('wxs').current;
    await world.clock.advance(116 * MINUTE);
    const before = world.state('wxs');
    expect(before.previous?.value).toBe(first?.value);
    lagging = { value: first?.value ?? '', id: first?.id ?? '', lifetimeMs: 4 * MINUTE };
    // A report has the broker read once more.
    world.wechat.kill('wxs', { issuer: 'stable', which: 'current', stuck: true });
    const report = world.broker.forceRefresh('wxs', { kind: 'generation', generation: before.generation });
    await expect(report).rejects.toMatchObject({ reason: 'UPSTREAM_ERROR' });
    expect(world.state('wxs')).toMatchObject({ generation: before.generation, status: 'DEGRADED' });
    expect(world.token('wxs')).toBe(before.current?.value);
    lagging = undefined;
    await world.clock.advance(MINUTE);
    expect(world.state('wxs').generation).toBeGreaterThan(before.generation);
    expect(world.good('wxs')).toBe(true);
  });

  it('shows the predecessor until its own end (P5)', async () => {
    const world = await World.started({ apps, settings: { probeIntervalMs: 0 } });
    const first = world.token('wxs');
    await world.clock.advance(114 * MINUTE);
    for (let s = 0; s < 7 * 60; s++) {
      await world.clock.advance(1 * SECOND);
      const { current, previous } = world.state('wxs');
      if (current?.value === first) continue;
      expect({ s, shown: previous !== null }).toEqual({ s, shown: world.wechat.honours('wxs', first) });
    }
    expect(world.state('wxs').previous).toBeNull();
  });
});

describe('failures', () => {
  it('P7: an outage of 3 h takes at most 240 calls an hour, and the status says what is so at every second', async () => {
    for (const effect of [
      { kind: 'refused' },
      { kind: 'hang', takesEffect: false },
      { kind: 'html', status: 502, takesEffect: false },
    ] as const) {
      const world = await World.started();
      await world.clock.advance(40 * MINUTE);
      const expiry = world.state().current?.expireTime ?? 0;
      const callsIn = new Map<number, number>();
      const start = world.clock.now();
      world.break(effect);
      let failed = false;
      let calls = world.counts().classic + world.counts().probe;
      for (let s = 0; s < 3 * 3600; s++) {
        await world.clock.advance(1 * SECOND);
        const now = world.counts().classic + world.counts().probe;
        const hour = Math.floor((world.clock.now() - start) / HOUR);
        callsIn.set(hour, (callsIn.get(hour) ?? 0) + now - calls);
        calls = now;
        failed ||= world.seen('refresh_failed').length > 0;
        const status = world.clock.now() >= expiry ? 'EXPIRED' : failed ? 'DEGRADED' : 'FRESH';
        expect({ s, status: world.state().status }).toEqual({ s, status });
        expect(world.state().current === null).toBe(status === 'EXPIRED');
      }
      expect(Math.max(...callsIn.values())).toBeLessThanOrEqual(240);
      world.mend();
      await world.clock.advance(20 * SECOND);
      expect(world.state().status).toBe('FRESH');
    }
  });

  it('does not give up on an outage that eats the budget, and keeps within it', async () => {
    const world = await World.started({ settings: { dailyBudget: 200 } });
    world.break({ kind: 'reset', takesEffect: true });
    await world.clock.advance(24 * HOUR);
    expect(world.counts().mints).toBeLessThanOrEqual(2 * 200 + 1);
    expect(world.counts().mints).toBeGreaterThan(150);
    world.mend();
    await world.clock.advance(30 * MINUTE);
    expect(world.state().status).toBe('FRESH');
  });

  it('fails all who wait together, and none of them starts another refresh', async () => {
    const world = new World();
    world.break({ kind: 'hang', takesEffect: false });
    await world.broker.start(world.apps);
    const gets = Array.from({ length: 20 }, () => world.broker.get('wxc'));
    const results = Promise.allSettled(gets);
    await world.clock.advance(5 * SECOND);
    for (const result of await results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { reason: 'UPSTREAM_TIMEOUT', appId: 'wxc' } });
    }
    expect(world.counts().classic).toBe(1);
    await expect(world.broker.get('wxc')).rejects.toMatchObject({ reason: 'UPSTREAM_TIMEOUT' });
    expect(world.counts().classic).toBe(1);
  });

  it('asks once for all who wait, though WeChat refuses at once', async () => {
    const world = new World();
    world.break({ kind: 'errcode', errcode: -1 });
    await world.broker.start(world.apps);
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => world.broker.get('wxc')));
    for (const result of results) expect(result).toMatchObject({ reason: { reason: 'UPSTREAM_BUSY' } });
    expect(world.counts().classic).toBe(1);
  });

  it('gives up on a refresh that is never answered, and tries again', async () => {
    const world = new World();
    world.break({ kind: 'hang', takesEffect: false }, { count: 1 });
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    expect(world.state().status).toBe('FRESH');
  });

  it('lets one caller leave without ending the refresh for the others', async () => {
    const world = new World();
    world.break({ kind: 'latency', ms: 2 * SECOND });
    await world.broker.start(world.apps);
    const controller = new AbortController();
    const leaving = Promise.resolve(world.broker.get('wxc', { signal: () => controller.signal }));
    const staying = world.broker.get('wxc');
    const left = expect(leaving).rejects.toThrow('gone');
    controller.abort(new Error('gone'));
    await left;
    await world.clock.advance(3 * SECOND);
    expect((await staying).current).not.toBeNull();
    expect(world.counts().classic).toBe(1);
  });

  it.each([
    [40125, 5 * MINUTE, 'SECRET_INVALID'],
    [89503, 10 * MINUTE, 'CONFIRMATION_REQUIRED'],
    [89507, HOUR, 'CONFIRMATION_REFUSED'],
    [89506, 24 * HOUR, 'CONFIRMATION_REFUSED'],
  ] as const)('after %i waits %i ms before it asks again, and says why', async (errcode, pauseMs, reason) => {
    const world = new World();
    world.break({ kind: 'errcode', errcode });
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    expect(world.counts().classic).toBe(1);
    expect(world.state()).toMatchObject({ status: 'PENDING', statusReason: expect.stringContaining(String(errcode)) });
    await expect(world.broker.get('wxc')).rejects.toMatchObject({ reason, answer: { errcode } });
    await world.clock.advance(pauseMs - 15 * SECOND);
    expect(world.counts().classic).toBe(1);
    await world.clock.advance(16 * SECOND);
    expect(world.counts().classic).toBe(2);
  });

  it('asks again within 15 minutes when a daily quota is spent, for an operator may clear it, and says so', async () => {
    const world = new World();
    world.break({ kind: 'errcode', errcode: 45009 });
    await world.broker.start(world.apps);
    const error = await Promise.resolve(world.broker.get('wxc')).catch((e: unknown) => e);
    expect(error).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect((error as LingpaiError).retryAfterMs).toBeLessThanOrEqual(15 * MINUTE);
    expect(world.state().statusReason).toMatch(/within 15 minutes.*clear_quota.*lingpai refresh/);
    await world.clock.advance(HOUR);
    expect(world.counts().classic).toBeGreaterThanOrEqual(5);
    expect(world.counts().classic).toBeLessThanOrEqual(6);
    world.mend();
    await world.clock.advance(15 * MINUTE);
    expect(world.state().status).toBe('FRESH');
  });

  it('asks for it within a minute of its reset', async () => {
    const world = new World();
    // The driven clock starts at noon in Shanghai.
    await world.clock.advance(12 * HOUR - MINUTE);
    world.break({ kind: 'errcode', errcode: 45009 }, { count: 1 });
    await world.broker.start(world.apps);
    await world.clock.advance(2 * MINUTE);
    expect(world.counts().classic).toBe(2);
    expect(world.state().status).toBe('FRESH');
  });

  it('takes a new secret into use at once', async () => {
    const world = await World.started();
    world.wechat.setApp({ appId: 'wxc', secret: 'reset' });
    await world.clock.advance(2 * HOUR);
    expect(world.state().status).toBe('EXPIRED');
    world.broker.configure([{ appId: 'wxc', issuer: 'classic', secret: 'reset' }]);
    await world.clock.advance(1 * SECOND);
    expect(world.state().status).toBe('FRESH');
  });

  it('does not lose a token that the store refuses, says so, and stores it later', async () => {
    const world = new World();
    world.store.failure = new Error('disk full');
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    expect(world.state()).toMatchObject({ status: 'DEGRADED', statusReason: expect.stringContaining('store') });
    expect(world.good()).toBe(true);
    world.store.failure = undefined;
    await world.clock.advance(31 * SECOND);
    expect(world.state().status).toBe('FRESH');
    expect(world.store.records.get('wxc')?.current?.value).toBe(world.token());
    expect(world.counts().mints).toBe(1);
  });
});
