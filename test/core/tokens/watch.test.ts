import { describe, expect, it } from 'vitest';
import { relevant, type WatchEvent } from '../../../src/core/tokens/watch.ts';
import { settle } from '../../support/clock.ts';
import { MINUTE, SECOND, World } from '../../support/world.ts';

const quiet = { settings: { probeIntervalMs: 0 } };
const all = { appIds: [], known: new Map<string, number>() };

/** Reads a watch as fast as it can and keeps what it got. */
function read(world: World, options = all as { appIds: readonly string[]; known: ReadonlyMap<string, number> }) {
  const watch = world.broker.watch(options);
  const events: WatchEvent[] = [];
  const ended = (async () => {
    for (let event = await watch.next(); event; event = await watch.next()) events.push(event);
  })();
  return { watch, events, ended };
}

describe('a watch', () => {
  it('P1: has the full state of every app at once, from memory', async () => {
    const world = await World.started({ apps: { a: 'classic', b: 'stable' }, ...quiet });
    const { events } = read(world);
    await settle();
    expect(events).toEqual([
      { type: 'state', state: world.state('a') },
      { type: 'state', state: world.state('b') },
    ]);
  });

  it('skips what the watcher knows, and beats at once when it knows everything', async () => {
    const world = await World.started({ apps: { a: 'classic', b: 'stable' }, ...quiet });
    const known = new Map([
      ['a', world.state('a').generation],
      ['b', world.state('b').generation - 1],
    ]);
    const { events } = read(world, { appIds: [], known });
    await settle();
    expect(events).toEqual([{ type: 'state', state: world.state('b') }]);
    known.set('b', world.state('b').generation);
    const second = read(world, { appIds: [], known });
    await settle();
    expect(second.events).toEqual([{ type: 'heartbeat', asOf: world.clock.now() }]);
  });

  it('P15: keeps of what the watcher says it knows no more than may matter', async () => {
    const world = await World.started({ apps: { a: 'classic' }, ...quiet });
    const others = Array.from({ length: 10_000 }, (_, i) => [`other-${i}`, 1] as const);
    const known = new Map([...others, ['a', world.state('a').generation]]);
    expect(relevant(known, ['a']).size).toBeLessThanOrEqual(101);
    const { events } = read(world, { appIds: [], known });
    await settle();
    expect(events).toEqual([{ type: 'heartbeat', asOf: world.clock.now() }]);
  });

  it('P2: sends nothing older than what the watcher has', async () => {
    const world = await World.started(quiet);
    const ahead = world.state().generation + 3 * MINUTE;
    const { events } = read(world, { appIds: ['wxc'], known: new Map([['wxc', ahead]]) });
    await world.broker.forceRefresh('wxc', undefined);
    await settle();
    expect(events.map((event) => event.type)).toEqual(['heartbeat']);
    await world.clock.advance(5 * MINUTE);
    await world.broker.forceRefresh('wxc', undefined);
    await settle();
    const states = events.flatMap((event) => (event.type === 'state' ? [event.state.generation] : []));
    expect(states).toEqual([world.state().generation]);
  });

  it('P4: is told of rotation, end of grace and status, each at once', async () => {
    const world = await World.started(quiet);
    const { events } = read(world);
    await settle();
    events.length = 0;
    await world.broker.forceRefresh('wxc', undefined);
    await settle();
    expect(events).toEqual([{ type: 'state', state: world.state() }]);
    expect(world.state().previous).not.toBeNull();
    await world.clock.advance(5 * MINUTE);
    const grace = events.filter((event) => event.type === 'state').at(-1);
    expect(grace).toMatchObject({ state: { previous: null, status: 'FRESH' } });
    world.store.failure = new Error('full');
    await world.broker.forceRefresh('wxc', undefined);
    await settle();
    expect(events.at(-1)).toMatchObject({ type: 'state', state: { status: 'DEGRADED' } });
  });

  it('beats every 10 s when nothing happens', async () => {
    const world = await World.started(quiet);
    const { events } = read(world);
    await settle();
    events.length = 0;
    await world.clock.advance(35 * SECOND);
    expect(events.map((event) => event.type)).toEqual(['heartbeat', 'heartbeat', 'heartbeat']);
  });

  it('P3, P9: a slow reader finds one state per app, and it is the last', async () => {
    const world = await World.started({ apps: { a: 'classic', b: 'classic' }, ...quiet });
    const watch = world.broker.watch(all);
    for (let i = 0; i < 5; i++) {
      await world.clock.advance(31 * SECOND);
      await world.broker.forceRefresh('a', undefined);
    }
    expect(await watch.next()).toEqual({ type: 'state', state: world.state('a') });
    expect(await watch.next()).toEqual({ type: 'state', state: world.state('b') });
    const third = watch.next();
    await world.clock.advance(10 * SECOND);
    expect(await third).toMatchObject({ type: 'heartbeat' });
  });

  it('of named apps gets no others, and an unknown one is an error', async () => {
    const world = await World.started({ apps: { a: 'classic', b: 'stable' }, ...quiet });
    const { events } = read(world, { appIds: ['b'], known: new Map() });
    await world.broker.forceRefresh('a', undefined);
    await settle();
    expect(events).toEqual([{ type: 'state', state: world.state('b') }]);
    expect(() => world.broker.watch({ appIds: ['b', 'c'], known: new Map() })).toThrow(
      expect.objectContaining({ reason: 'APP_NOT_FOUND', appId: 'c' }),
    );
    expect(world.broker.watchers).toBe(1);
  });

  it('says goodbye before it ends, each stream with its own time to return', async () => {
    const world = await World.started(quiet);
    const readers = [read(world), read(world)];
    await settle();
    const ends = readers.map(({ ended }) => expect(ended).rejects.toMatchObject({ reason: 'DRAINING' }));
    await world.broker.drain(5 * SECOND);
    await Promise.all(ends);
    const times = readers.map(({ events }) => {
      const last = events.at(-1);
      return last?.type === 'goaway' ? last.reconnectAfterMs : -1;
    });
    expect(new Set(times).size).toBe(2);
    for (const ms of times) expect(ms >= 0 && ms < 5 * SECOND).toBe(true);
    expect(() => world.broker.watch(all)).toThrow(expect.objectContaining({ reason: 'DRAINING' }));
    expect(world.broker.get('wxc')).toBe(world.state());
  });

  it('is bounded in number, and leaves nothing behind', async () => {
    const world = await World.started({ settings: { probeIntervalMs: 0, maxWatchers: 2 } });
    const timers = world.clock.pending;
    const first = read(world);
    const second = read(world);
    await settle();
    expect(() => world.broker.watch(all)).toThrow(expect.objectContaining({ reason: 'TOO_MANY_WATCHERS' }));
    for (const { watch, ended } of [first, second]) {
      watch[Symbol.dispose]();
      watch[Symbol.dispose]();
      await ended;
    }
    expect(world.broker.watchers).toBe(0);
    expect(world.clock.pending).toBe(timers);
  });
});

describe('Get of a minimum generation', () => {
  it('waits for it, and never answers with an older one', async () => {
    const world = await World.started(quiet);
    const { generation } = world.state();
    expect(world.broker.get('wxc', { minGeneration: generation })).toBe(world.state());
    const waiting = Promise.resolve(world.broker.get('wxc', { minGeneration: generation + 1 }));
    await world.clock.advance(SECOND);
    await world.broker.forceRefresh('wxc', undefined);
    expect((await waiting).generation).toBeGreaterThan(generation);
  });

  it('ends with the caller, and leaves nothing behind', async () => {
    const world = await World.started(quiet);
    const controller = new AbortController();
    const get = world.broker.get('wxc', {
      minGeneration: world.state().generation + 1,
      signal: () => controller.signal,
    });
    const gone = expect(get).rejects.toThrow('gone');
    controller.abort(new Error('gone'));
    await gone;
  });
});
