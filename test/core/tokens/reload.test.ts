import { describe, expect, it } from 'vitest';
import type { App } from '../../../src/core/tokens/ports.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

/** Reloads the configuration, with these changes of its only app. */
async function reload(world: World, change: Partial<App> = {}): Promise<void> {
  world.apps = world.apps.map((app) => ({ ...app, ...change }));
  world.broker.configure(world.apps);
  await world.clock.advance(0);
}

const tried = (world: World) => world.seen('secret_tried').map(({ result }) => result);

describe('what waits for a quota or an operator', () => {
  it.each([
    [45009, 'classic'],
    [45009, 'stable'],
    [40164, 'classic'],
  ] as const)(
    'is tried at once when the configuration is read again, and when an operator refreshes (%i, %s)',
    async (errcode, issuer) => {
      for (const by of ['reload', 'operator']) {
        const world = new World({ apps: { wx: issuer } });
        world.break({ kind: 'errcode', errcode }, { calls: [issuer] });
        await world.broker.start(world.apps);
        await world.clock.advance(MINUTE);
        expect(world.state('wx').status).toBe('PENDING');
        world.mend();
        if (by === 'reload') await reload(world);
        else await world.broker.forceRefresh('wx', undefined);
        expect(world.state('wx').status).toBe('FRESH');
      }
    },
  );

  it('leaves alone what is well, and what an administrator is asked to confirm', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    for (let i = 0; i < 5; i++) await reload(world);
    expect(world.counts()).toMatchObject({ mints: 1, stable: 0 });
    world.break({ kind: 'errcode', errcode: 89503 });
    await world.clock.advance(66 * MINUTE);
    const { classic } = world.counts();
    for (let i = 0; i < 5; i++) await reload(world);
    expect(world.counts().classic).toBe(classic);
  });
});

describe('a secret that a reload changed', () => {
  it('stable: is tried at once by a read, and told', async () => {
    const world = await World.started({ apps: { wx: 'stable' } });
    await reload(world, { secret: 'wrong' });
    expect(world.counts('wx').stable).toBe(2);
    expect(tried(world)).toEqual(['refused']);
    expect(world.state('wx')).toMatchObject({ status: 'DEGRADED', statusReason: expect.stringContaining('AppSecret') });
    expect(world.good('wx')).toBe(true);
    await reload(world, { secret: 'secret of wx' });
    expect(tried(world)).toEqual(['refused', 'accepted']);
    expect(world.state('wx')).toMatchObject({ status: 'FRESH', statusReason: '' });
  });

  it('classic: is tried at once, disturbs no token, and is told', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    const before = world.state();
    await reload(world, { secret: 'wrong' });
    expect(world.counts()).toMatchObject({ classic: 1, stable: 1 });
    expect(tried(world)).toEqual(['refused']);
    expect(world.seen('refresh_failed')).toEqual([]);
    expect(world.state()).toMatchObject({
      status: 'DEGRADED',
      statusReason: expect.stringContaining('AppSecret'),
      current: before.current,
      generation: before.generation,
    });
    await world.clock.advance(11 * MINUTE);
    expect(world.counts()).toMatchObject({ classic: 1, stable: 3 });
    expect(tried(world)).toEqual(['refused']);
    await reload(world, { secret: 'secret of wxc' });
    expect(world.counts()).toMatchObject({ classic: 1, stable: 4 });
    expect(tried(world)).toEqual(['refused', 'accepted']);
    expect(world.state()).toMatchObject({ status: 'FRESH', statusReason: '', current: before.current });
  });

  it('classic: is known to be right as soon as WeChat has it too', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    await reload(world, { secret: 'new' });
    world.wechat.setApp({ appId: 'wxc', secret: 'new' });
    await world.clock.advance(5 * MINUTE + SECOND);
    expect(tried(world)).toEqual(['refused', 'accepted']);
    expect(world.state()).toMatchObject({ status: 'FRESH', statusReason: '' });
    expect(world.counts().classic).toBe(1);
  });

  it('classic: is tried again at once when the configuration is read again', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    await reload(world, { secret: 'new' });
    world.wechat.setApp({ appId: 'wxc', secret: 'new' });
    await reload(world);
    expect(tried(world)).toEqual(['refused', 'accepted']);
    expect(world.state()).toMatchObject({ status: 'FRESH', statusReason: '' });
  });

  it('classic: is tried by the mint itself where that is near', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    const due = world.state().nextRefreshTime ?? 0;
    await world.clock.advance(due - world.clock.now() - 9 * MINUTE);
    await reload(world, { secret: 'wrong' });
    expect(world.counts()).toMatchObject({ classic: 2, stable: 0 });
    expect(world.state().status).toBe('DEGRADED');
    await reload(world, { secret: 'secret of wxc' });
    expect(tried(world)).toEqual(['refused', 'accepted']);
    expect(world.counts()).toMatchObject({ classic: 3, stable: 0 });
    expect(world.state().status).toBe('FRESH');
  });

  it('is told apart from one that could not be tried, which is tried again', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0 } });
    world.break({ kind: 'refused' }, { calls: ['stable'] });
    await reload(world, { secret: 'secret of wxc, a new one' });
    world.wechat.setApp({ appId: 'wxc', secret: 'secret of wxc, a new one' });
    expect(tried(world)).toEqual(['unknown']);
    await world.clock.advance(HOUR / 4);
    world.mend();
    await world.clock.advance(30 * SECOND);
    expect(tried(world)).toEqual(['unknown', 'accepted']);
  });

  it('stable: is told when a quota lets it be tried', async () => {
    const world = await World.started({ apps: { wx: 'stable' } });
    world.break({ kind: 'errcode', errcode: -1 }, { calls: ['stable'], count: 1 });
    await reload(world, { secret: 'wrong' });
    expect(tried(world)).toEqual(['unknown']);
    await world.clock.advance(5 * SECOND);
    expect(tried(world)).toEqual(['unknown', 'refused']);
  });
});
