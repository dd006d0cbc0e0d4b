import { describe, expect, it } from 'vitest';
import type { ProcessDeps } from '../../support/process.ts';
import { Replicas } from '../../support/replicas.ts';
import { MINUTE, SECOND, World } from '../../support/world.ts';

/** Has the store take its time. */
function slow({ store, clock, ...deps }: ProcessDeps, ms: number): ProcessDeps {
  const pause = () => new Promise<void>((resolve) => clock.schedule(ms, resolve));
  const slowly = {
    load: () => store.load(),
    save: (...args: Parameters<typeof store.save>) => pause().then(() => store.save(...args)),
    close: () => store.close(),
  };
  return { ...deps, clock, store: slowly };
}

describe('how long after WeChat answered a token was stored', () => {
  it('is the time that the store took', async () => {
    const world = await World.started({ tap: (deps) => slow(deps, 40) });
    expect(world.seen('rotated').map(({ storedAfterMs }) => storedAfterMs)).toEqual([40]);
  });

  it('is not known while the store refuses it', async () => {
    const world = new World();
    world.store.failure = new Error('the disk is full');
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    expect(world.seen('rotated').map(({ storedAfterMs }) => storedAfterMs)).toEqual([null]);
  });

  it('among replicas too: known while the shared store answers, and not when it is away', async () => {
    const replicas = await Replicas.started(1, { apps: { wxs: 'stable' } });
    const replica = replicas.get('r1');
    const rotated = () => replica.events.filter((event) => event.type === 'rotated');
    expect(rotated().map(({ storedAfterMs }) => storedAfterMs)).toEqual([0]);
    replica.connection.way.state = 'cut';
    await replicas.clock.advance(120 * MINUTE);
    expect(rotated().map(({ storedAfterMs }) => storedAfterMs)).toEqual([0, null]);
  });
});
