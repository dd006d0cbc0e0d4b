import { describe, expect, it } from 'vitest';
import { RecordWriter } from '../../../src/core/tokens/record-writer.ts';
import { settle } from '../../support/clock.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

/*
 * What the model (model.test.ts) found: each test is the shortest sequence that showed a bug, and says what was wrong.
 */
const quiet = { settings: { probeIntervalMs: 0 } };

const byToken = (token: string) => ({ kind: 'token', token }) as const;

describe('a machine that sleeps', () => {
  it('while a call is on its way gets a token that is as much older', async () => {
    const world = await World.started(quiet);
    world.break({ kind: 'latency', ms: SECOND }, { count: 1 });
    world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await settle();
    world.clock.sleep(119 * MINUTE);
    world.broker.sweep();
    await world.clock.advance(SECOND);
    world.broker.sweep();
    await settle();
    const { current } = world.state();
    expect(world.wechat.honours('wxc', current?.value ?? '')).toBe(true);
    const [newest] = world.wechat.tokens('wxc');
    expect(current?.expireTime).toBeLessThanOrEqual(newest?.endsAt ?? 0);
  });

  it('while WeChat is asked about a token does not pass on the answer as news', async () => {
    const world = await World.started(quiet);
    const token = world.token();
    world.break({ kind: 'latency', ms: SECOND }, { count: 1 });
    const report = world.broker.forceRefresh('wxc', byToken(token));
    await settle();
    world.clock.sleep(2 * HOUR);
    await world.clock.advance(2 * SECOND);
    expect((await report).state.current?.value).not.toBe(token);
    expect(world.good()).toBe(true);
  });

  it('while the store is written still knows how old its token is', async () => {
    const world = new World(quiet);
    await world.broker.start(world.apps);
    const save = world.store.save.bind(world.store);
    let slept = false;
    world.store.save = async (app) => {
      if (app.current && !slept) {
        slept = true;
        world.clock.sleep(3 * HOUR);
      }
      await save(app);
    };
    const got = Promise.resolve(world.broker.get('wxc'));
    await world.clock.advance(SECOND);
    expect(slept).toBe(true);
    expect(world.wechat.honours('wxc', (await got).current?.value ?? '')).toBe(true);
  });

  it('before a call that is already begun gets a token that is no older for it', async () => {
    const world = new World(quiet);
    const save = world.store.save.bind(world.store);
    let slept = false;
    world.store.save = async (app) => {
      if (!slept) world.clock.sleep(HOUR);
      slept = true;
      await save(app);
    };
    await world.broker.start(world.apps);
    await world.clock.advance(SECOND);
    world.broker.sweep();
    await settle();
    expect(world.state().current?.expireTime).toBeGreaterThan(world.clock.now() + 119 * MINUTE);
  });
});

it('a clock that was set back, and a restart after it, lengthen no life', async () => {
  const world = await World.started(quiet);
  world.clock.jump(-HOUR);
  world.broker.sweep();
  await settle();
  await world.crash(3 * SECOND);
  const { current } = world.state();
  expect(current?.expireTime).toBeLessThanOrEqual(world.clock.now() + 2 * HOUR - 10 * SECOND);
});

describe('the previous token', () => {
  it('is not shown any more from the moment at which a further mint may displace it', async () => {
    const world = await World.started(quiet);
    const first = world.token();
    await world.broker.forceRefresh('wxc', undefined);
    await world.clock.advance(40 * SECOND);
    expect(world.state().previous?.value).toBe(first);
    world.break({ kind: 'latency', ms: 4 * SECOND }, { count: 1 });
    world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await world.clock.advance(SECOND);
    expect(world.wechat.honours('wxc', first)).toBe(false);
    expect(world.state().previous).toBeNull();
  });

  it('has its grace from the forced call on, not from the read after it', async () => {
    const world = await World.started({ apps: { wxs: 'stable' }, ...quiet });
    const first = world.token('wxs');
    world.break({ kind: 'latency', ms: 4 * SECOND }, { count: 1 });
    world.broker.forceRefresh('wxs', undefined).catch(() => undefined);
    await world.clock.advance(5 * MINUTE - SECOND);
    expect(world.state('wxs').previous?.value).toBe(first);
    await world.clock.advance(2 * SECOND);
    expect(world.wechat.honours('wxs', first)).toBe(false);
    expect(world.state('wxs').previous).toBeNull();
  });
  it('is not shown again after a lost mint of its issuer, though the other issuer knows of no change', async () => {
    const world = await World.started(quiet);
    const classic = world.token();
    const as = (issuer: 'classic' | 'stable') => world.apps.map((app) => ({ ...app, issuer }));
    world.broker.configure(as('stable'));
    await settle();
    expect(world.state().previous?.value).toBe(classic);
    world.break({ kind: 'reset', takesEffect: true }, { count: 1 });
    world.broker.configure(as('classic'));
    await settle();
    world.broker.configure(as('stable'));
    await world.clock.advance(6 * MINUTE);
    expect(world.state().status).toBe('FRESH');
    expect(world.wechat.honours('wxc', classic)).toBe(false);
    expect(world.state().previous).toBeNull();
  });
});

describe('an app that is taken out and put back', () => {
  it('has in the store what the store refused before', async () => {
    const world = new World(quiet);
    world.store.failure = new Error('disk full');
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    world.broker.configure([]);
    await settle();
    world.store.failure = undefined;
    world.broker.configure(world.apps);
    await world.clock.advance(20 * SECOND);
    expect(world.store.records.get('wxc')?.current?.value).toBe(world.token());
  });

  it('is not heard of any more while it is out, though its refresh still lands', async () => {
    const world = await World.started(quiet);
    let write: () => void = () => undefined;
    const save = world.store.save.bind(world.store);
    world.store.save = async (app) => {
      await new Promise<void>((resolve) => {
        write = resolve;
      });
      await save(app);
    };
    const watch = world.broker.watch({ appIds: [], known: new Map() });
    expect(await watch.next()).toMatchObject({ type: 'state' });
    world.broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await settle();
    write(); // the mint is written down and made, and its token waits to be
    await settle();
    expect(world.counts().mints).toBe(2);
    world.broker.configure([]);
    expect(await watch.next()).toEqual({ type: 'removed', appId: 'wxc' });
    write();
    await settle();
    expect(world.store.records.get('wxc')?.current?.id).toBe(world.wechat.tokens('wxc')[0]?.id);
    const next = watch.next();
    await world.clock.advance(10 * SECOND);
    expect(await next).toMatchObject({ type: 'heartbeat' });
    watch[Symbol.dispose]();
  });
});

it('a record that has a new keeper is not overwritten by the last one', async () => {
  const world = await World.started(quiet);
  const record = world.store.records.get('wxc');
  if (!record) throw new Error('no record');
  const { clock, store } = world;
  const ignore = () => undefined;
  const recordWriter = new RecordWriter({ clock, store, random: () => 0, observe: ignore }, 'wxc');
  const last = recordWriter.adopt(() => undefined);
  const now = recordWriter.adopt(() => undefined);
  await now({ ...record, generation: 2 });
  await last({ ...record, generation: 1 });
  expect(store.records.get('wxc')?.generation).toBe(2);
});

it('an outage in which WeChat refuses a token whose life a leap may have ended takes at most 240 calls an hour', async () => {
  const world = await World.started();
  world.break({ kind: 'reset', takesEffect: false }, { calls: ['classic'] });
  world.clock.sleep(2 * HOUR);
  world.broker.sweep();
  await world.clock.advance(MINUTE);
  const { classic, probe } = world.counts();
  await world.clock.advance(HOUR);
  const after = world.counts();
  expect(after.classic - classic + after.probe - probe).toBeLessThanOrEqual(240);
});
