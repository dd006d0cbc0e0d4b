import { expect, it } from 'vitest';
import type { Watch, WatchEvent } from '../../../src/core/tokens/watch.ts';
import { World } from '../../support/world.ts';

/** A world of three apps, and a scope that changes when the test says so. */
async function rig(visible: string[] | 'all' = ['wxa', 'wxz']) {
  const world = await World.started({ apps: { wxa: 'classic', wxb: 'classic', wxc: 'classic' } });
  let sees: readonly string[] | 'all' = visible;
  const scope = { seesAll: () => sees === 'all', sees: (appId: string) => sees === 'all' || sees.includes(appId) };
  const watch = (known = new Map<string, number>()) => world.broker.watch({ appIds: [], known, scope });
  const change = (next: readonly string[] | 'all', ...watches: Watch[]) => {
    sees = next;
    for (const one of watches) world.broker.rescope(one);
  };
  return { world, watch, change };
}

const told = (watch: Watch) => {
  const events: WatchEvent[] = [];
  for (let event = watch.take(); event; event = watch.take()) events.push(event);
  return events.flatMap((event) => {
    if (event.type === 'state') return [`${event.state.appId} ${event.state.status}`];
    return event.type === 'removed' ? [`${event.appId} removed`] : [];
  });
};

async function rotate(world: World, appId: string) {
  await world.broker.forceRefresh(appId, undefined);
}

it('a watch of all is told of the apps that it sees, and of no other', async () => {
  const { world, watch } = await rig();
  const one = watch();
  expect(told(one)).toEqual(['wxa FRESH']);
  await world.clock.advance(60_000);
  for (const appId of ['wxa', 'wxb']) {
    const rotated = rotate(world, appId);
    await world.clock.advance(5_000);
    await rotated;
  }
  expect(told(one)).toEqual(['wxa FRESH']);
  one[Symbol.dispose]();
  expect(world.broker.watchers).toBe(0);
});

it('it is told that an app is gone which it sees no more, and of one that it sees now, whole', async () => {
  const { world, watch, change } = await rig(['wxa', 'wxb']);
  const one = watch();
  expect(told(one)).toEqual(['wxa FRESH', 'wxb FRESH']);
  change(['wxb', 'wxc'], one);
  expect(told(one)).toEqual(['wxa removed', 'wxc FRESH']);
  change(['wxb', 'wxc'], one);
  expect(told(one)).toEqual([]);
  await world.clock.advance(60_000);
  const rotated = rotate(world, 'wxa');
  await world.clock.advance(5_000);
  await rotated;
  expect(told(one)).toEqual([]);
});

it('what it has not read of an app that it loses is not handed out', async () => {
  const { watch, change } = await rig(['wxa']);
  const one = watch();
  change([], one);
  expect(told(one)).toEqual(['wxa removed']);
});

it.each([
  ['all to some', 'all', ['wxb'], ['wxa removed', 'wxc removed']],
  ['some to all', ['wxb'], 'all', ['wxa FRESH', 'wxc FRESH']],
  ['nothing to all', [], 'all', ['wxa FRESH', 'wxb FRESH', 'wxc FRESH']],
  ['all to nothing', 'all', [], ['wxa removed', 'wxb removed', 'wxc removed']],
] as const)('from %s', async (_, from, to, expected) => {
  const { world, watch, change } = await rig(from === 'all' ? 'all' : [...from]);
  const one = watch();
  told(one);
  change(to, one);
  expect(told(one)).toEqual(expected);
  const sees = (appId: string) => to === 'all' || (to as readonly string[]).includes(appId);
  await world.clock.advance(60_000);
  for (const appId of ['wxa', 'wxb', 'wxc']) {
    const rotated = rotate(world, appId);
    await world.clock.advance(5_000);
    await rotated;
    expect(told(one).length > 0).toBe(sees(appId));
  }
});

it('an app that comes is told of where it is seen, and one that goes is removed once', async () => {
  const { world, watch } = await rig(['wxa', 'wxz']);
  const one = watch();
  told(one);
  const app = (appId: string) => ({ appId, secret: `secret of ${appId}`, issuer: 'classic' as const });
  world.broker.configure([...world.apps, app('wxz'), app('wxy')]);
  expect(told(one)).toEqual(['wxz PENDING']);
  world.broker.configure([app('wxz')]);
  expect(told(one)).toEqual(['wxa removed']);
  world.broker.configure([app('wxa'), app('wxz')]);
  expect(told(one)).toEqual([expect.stringMatching(/^wxa /)]);
});

it('what it knows already is not told again, and where it sees nothing it is drained all the same', async () => {
  const { world, watch } = await rig(['wxa']);
  expect(told(watch(new Map([['wxa', world.state('wxa').generation]])))).toEqual([]);
  const none = await rig([]);
  const one = none.watch();
  expect(told(one)).toEqual([]);
  const drained = none.world.broker.drain(1_000);
  await none.world.clock.advance(1_000);
  await drained;
  expect(one.take()).toMatchObject({ type: 'goaway' });
});
