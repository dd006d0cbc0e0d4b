import { describe, expect, test } from 'vitest';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import { settle } from '../../support/clock.ts';
import { LEASE, POLL, type Replica, Replicas } from '../../support/replicas.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Lets the token of the app come due: the owner is about to refresh it. */
const DUE = { classic: 67 * MINUTE, stable: 2 * HOUR };

describe.each(['classic', 'stable'] as const)('three replicas, %s', (issuer) => {
  const apps = { wxc: issuer };

  test('a cold start makes one token, which all have', async () => {
    const replicas = await Replicas.started(3, { apps });
    expect(replicas.agreed()).toBe(true);
    expect(replicas.mints()).toBe(1);
  });

  test('a day makes the tokens of one broker, and all always have the newest', async () => {
    const replicas = await Replicas.started(3, { apps });
    for (let i = 0; i < 24 * 60; i++) {
      await replicas.clock.advance(MINUTE);
      expect(replicas.agreed()).toBe(true);
    }
    expect(replicas.mints()).toBeLessThanOrEqual(issuer === 'classic' ? 28 : 14);
    const generations = replicas.running.map((replica) => replicas.state(replica).generation);
    expect(new Set(generations).size).toBe(1);
  });

  test('first Gets at all replicas at once make one token', async () => {
    const replicas = new Replicas({ apps });
    for (let i = 0; i < 3; i++) await replicas.add();
    const gets = replicas.all.map(({ broker }) => broker.get('wxc', { signal: () => new AbortController().signal }));
    await replicas.clock.advance(10 * SECOND);
    const values = (await Promise.all(gets)).map(({ current }) => current?.value);
    expect(new Set(values).size).toBe(1);
    expect(replicas.mints()).toBe(1);
  });

  test('a token that died is reported everywhere, and replaced once', async () => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.clock.advance(5 * SECOND); // what a probe said has gone stale
    const [token = ''] = replicas.tokens();
    replicas.wechat.kill('wxc', { issuer, which: 'all', stuck: true });
    const reports = replicas.all.flatMap(({ broker }) =>
      Array.from({ length: 5 }, () => broker.forceRefresh('wxc', { kind: 'token', token })),
    );
    await replicas.clock.advance(10 * SECOND);
    for (const report of await Promise.all(reports)) expect(report.state.current?.value).not.toBe(token);
    expect(replicas.agreed()).toBe(true);
    expect(replicas.mints()).toBe(2);
  });

  test('when the owner dies, another goes on', async () => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.kill(replicas.owner());
    for (let i = 0; i < 3 * 60; i++) {
      await replicas.clock.advance(MINUTE);
      expect(replicas.agreed()).toBe(true);
    }
    expect(replicas.mints()).toBeLessThanOrEqual(4);
  });

  test('a rolling restart makes no token', async () => {
    const replicas = await Replicas.started(3, { apps });
    for (const replica of [...replicas.all]) {
      await replica.broker.drain(1_000);
      await replicas.kill(replica);
      await replicas.clock.advance(5 * SECOND);
      await replicas.add();
      await replicas.clock.advance(5 * SECOND);
      expect(replicas.agreed()).toBe(true);
    }
    expect(replicas.mints()).toBe(1);
  });

  test.each(['before', 'after'] as const)('the owner stops for 30 s %s its request', async (hold) => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.clock.advance(DUE[issuer] - 12 * MINUTE);
    const owner = replicas.owner();
    owner.line.hold = hold;
    await replicas.until(() => owner.line.waiting > 0, 30 * MINUTE);
    const before = replicas.mints();
    owner.life.stop();
    await replicas.clock.advance(30 * SECOND);
    owner.line.release();
    await replicas.clock.advance(SECOND);
    owner.life.resume();
    await everGood(replicas, 20 * MINUTE);
    // Had the held call been made before, it is counted there.
    expect(replicas.mints() - before).toBeLessThanOrEqual(issuer === 'classic' ? 3 - Number(hold === 'after') : 1);
  });

  test('the owner stops before its request, which is delivered late, and dies', async () => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.clock.advance(DUE[issuer] - 12 * MINUTE);
    const owner = replicas.owner();
    owner.line.hold = 'before';
    await replicas.until(() => owner.line.waiting > 0, 30 * MINUTE);
    const before = replicas.mints();
    owner.life.stop();
    await replicas.clock.advance(40 * SECOND);
    owner.line.release();
    await replicas.kill(owner);
    await everGood(replicas, 20 * MINUTE);
    expect(replicas.mints() - before).toBeLessThanOrEqual(issuer === 'classic' ? 3 : 1);
  });

  test('the answer is lost after the mint', async () => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.clock.advance(DUE[issuer] - 12 * MINUTE);
    const owner = replicas.owner();
    const before = replicas.mints();
    owner.line.hold = 'lost';
    await replicas.until(() => replicas.mints() > before, 30 * MINUTE);
    owner.line.release();
    await everGood(replicas, 20 * MINUTE);
    expect(replicas.mints() - before).toBeLessThanOrEqual(issuer === 'classic' ? 3 : 1);
  });

  test('the store is emptied', async () => {
    const replicas = await Replicas.started(3, { apps });
    const generation = replicas.state(replicas.owner()).generation;
    replicas.store.restart();
    await replicas.clock.advance(10 * SECOND);
    expect(replicas.agreed()).toBe(true);
    expect(replicas.store.records.get('wxc')?.app.generation).toBe(generation);
    expect(replicas.mints()).toBe(1);
  });

  test('the store goes back in time', async () => {
    const replicas = await Replicas.started(3, { apps });
    const old = replicas.store.snapshot();
    await replicas.clock.advance(DUE[issuer]);
    const generation = replicas.state(replicas.owner()).generation;
    replicas.store.restart(old);
    await replicas.clock.advance(10 * SECOND);
    expect(replicas.store.records.get('wxc')?.app.generation).toBe(generation);
    expect(replicas.agreed()).toBe(true);
    for (const replica of replicas.all) expect(replicas.state(replica).generation).toBe(generation);
  });

  test('a report of a token that this replica has not heard of is judged by what the store has', async () => {
    const replicas = await Replicas.started(3, { apps });
    await replicas.clock.advance(35 * SECOND);
    const [first, , behind] = replicas.all;
    if (!first || !behind) throw new Error('no replicas');
    behind.connection.way.hints = false;
    const renewed = first.broker.forceRefresh('wxc', undefined);
    await settle();
    const { state } = await renewed;
    expect(replicas.state(behind).generation).toBeLessThan(state.generation);
    const { generation, current } = state;
    const byToken = behind.broker.forceRefresh('wxc', { kind: 'token', token: current?.value ?? '' });
    const byGeneration = behind.broker.forceRefresh('wxc', { kind: 'generation', generation });
    await settle();
    for (const report of [byToken, byGeneration]) {
      expect(await report).toMatchObject({ outcome: 'STILL_VALID', state: { generation } });
    }
  });

  test('without hints a replica is one poll behind', async () => {
    const replicas = await Replicas.started(3, { apps });
    for (const { connection } of replicas.all) connection.way.hints = false;
    const { generation } = replicas.state(replicas.owner());
    await replicas.until(() => replicas.state(replicas.owner()).generation > generation, 3 * HOUR);
    expect(await replicas.until(() => replicas.agreed(), MINUTE)).toBeLessThanOrEqual(2.5 * SECOND);
  });
});

test('a write without an answer leaves no lease behind', async () => {
  const replicas = await Replicas.started(3);
  await replicas.clock.advance(35 * SECOND);
  const [first] = replicas.all;
  if (!first) throw new Error('no replicas');
  first.connection.way.state = 'deaf';
  const refused = first.broker.forceRefresh('wxc', undefined).catch((error: unknown) => error);
  await settle();
  expect(await refused).toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  expect(replicas.store.records.get('wxc')?.app.shared?.intents).toHaveLength(1);
  first.connection.way.state = 'open';
  await replicas.clock.advance(5 * SECOND);
  expect(replicas.store.records.get('wxc')?.app.shared?.intents).toEqual([]);
  expect(replicas.mints()).toBe(1);
});

test('a stable token is read on while the store is away', async () => {
  const replicas = await Replicas.started(3, { apps: { wxc: 'stable' } });
  for (const { connection } of replicas.all) connection.way.state = 'cut';
  for (let i = 0; i < 5 * 60; i++) {
    await replicas.clock.advance(MINUTE);
    for (const replica of replicas.all) {
      expect(replicas.wechat.honours('wxc', replicas.state(replica).current?.value ?? '')).toBe(true);
    }
  }
  for (const { connection } of replicas.all) connection.way.state = 'open';
  await replicas.clock.advance(10 * SECOND);
  expect(replicas.agreed()).toBe(true);
  const generations = replicas.running.map((replica) => replicas.state(replica).generation);
  expect(new Set(generations).size).toBe(1);
});

test('a classic token is not minted while the store is away, and is as soon as it is back', async () => {
  const replicas = await Replicas.started(3);
  for (const { connection } of replicas.all) connection.way.state = 'cut';
  await replicas.clock.advance(90 * MINUTE);
  expect(replicas.mints()).toBe(1);
  expect(replicas.agreed()).toBe(true);
  expect(replicas.state(replicas.all[0] as never).status).toBe('DEGRADED');
  for (const { connection } of replicas.all) connection.way.state = 'open';
  await replicas.clock.advance(30 * SECOND);
  expect(replicas.mints()).toBe(2);
  expect(replicas.agreed()).toBe(true);
});

test.each([
  ['hinted of it', true],
  ['found in the store', false],
])('a replica that was given up is waited for when it mints, before it is seen to live: %s', async (_, hints) => {
  const replicas = await Replicas.started(3, { settings: { cooldownMs: 0 } });
  const [first, second] = replicas.all;
  if (!first || !second) throw new Error('no replicas');
  first.connection.way.state = 'cut';
  await replicas.clock.advance(MINUTE);
  first.connection.way.state = 'open';
  second.connection.way.hints = hints;
  first.line.hold = 'before';
  const before = replicas.mints();
  const refreshed = first.broker.forceRefresh('wxc', undefined);
  await settle();
  const joined = second.broker.forceRefresh('wxc', undefined);
  await settle();
  first.line.release();
  await replicas.clock.advance(5 * SECOND);
  await Promise.all([refreshed, joined]);
  expect(replicas.mints() - before).toBe(1);
  expect(replicas.agreed()).toBe(true);
});

test('a replica that has just begun waits for the one that replaces a token that is known to be dead', async () => {
  const replicas = await Replicas.started(2, { settings: { cooldownMs: 0 } });
  const other = await replicas.add();
  await replicas.clock.advance(5 * SECOND);
  const owner = replicas.owner();
  expect(owner).not.toBe(other);
  const token = replicas.state(owner).current?.value ?? '';
  replicas.wechat.kill('wxc', { issuer: 'classic', which: 'all', stuck: false });
  owner.line.hold = 'before';
  const first = owner.broker.forceRefresh('wxc', { kind: 'token', token });
  await settle();
  expect(replicas.state(other).status).toBe('DEGRADED');
  const second = other.broker.forceRefresh('wxc', { kind: 'token', token });
  await settle();
  owner.line.release();
  await replicas.clock.advance(5 * SECOND);
  expect((await first).outcome).toBe('REFRESHED');
  expect((await second).state.current?.value).toBe((await first).state.current?.value);
  expect(replicas.mints()).toBe(2);
});

test('a token that was read while the store was away, and replaced since, leaves no previous one', async () => {
  const replicas = await Replicas.started(2, { apps: { wxc: 'stable' }, settings: { cooldownMs: 0 } });
  const owner = replicas.owner();
  const [other] = replicas.others();
  if (!other) throw new Error('no replicas');
  const { generation, current: oldest } = replicas.state(owner);
  for (const { connection } of replicas.all) connection.way.state = 'cut';
  other.line.hold = 'before';
  await replicas.until(() => replicas.state(owner).generation > generation, 3 * HOUR);
  const { waiting } = other.line;
  await replicas.until(() => other.line.waiting > waiting, MINUTE);
  await replicas.clock.advance(5 * SECOND); // its read has been given up
  other.line.hold = 'none';
  other.connection.way.state = 'open';
  const forced = other.broker.forceRefresh('wxc', undefined);
  await settle();
  expect((await forced).outcome).toBe('REFRESHED');
  expect(replicas.wechat.honours('wxc', oldest?.value ?? '')).toBe(false);
  expect(replicas.state(other).previous?.value).toBe(oldest?.value); // what it cannot know
  owner.connection.way.state = 'open';
  await replicas.clock.advance(10 * SECOND);
  expect(replicas.agreed()).toBe(true);
  expect(replicas.all.map((replica) => replicas.state(replica).previous)).toEqual([null, null]);
});

test('the confirming mint is made inside an overlap that is shorter than usual', async () => {
  const replicas = await Replicas.started(3, { settings: { overlapMs: MINUTE } });
  replicas.wechat.changeApp('wxc', { overlapMs: MINUTE });
  await replicas.clock.advance(DUE.classic - 12 * MINUTE);
  const owner = replicas.owner();
  owner.line.hold = 'before';
  await replicas.until(() => owner.line.waiting > 0, 30 * MINUTE);
  const before = replicas.mints();
  await replicas.kill(owner);
  await replicas.until(() => replicas.mints() > before, 5 * MINUTE);
  owner.line.release();
  await everGood(replicas, 20 * MINUTE);
  expect(replicas.mints() - before).toBe(3);
});

test.each(['classic', 'stable'] as const)(
  'who asks for a refresh while another mints waits for it, %s',
  async (issuer) => {
    const replicas = await Replicas.started(2, { apps: { wxc: issuer } });
    const [first, second] = [replicas.get('r1'), replicas.get('r2')];
    const before = replicas.mints();
    first.line.hold = 'after';
    const asked = first.broker.forceRefresh('wxc', undefined);
    await replicas.until(() => first.line.waiting > 0, SECOND);
    await replicas.clock.advance(SECOND); // the other has heard of it
    const joined = second.broker.forceRefresh('wxc', undefined);
    joined.catch(() => undefined);
    await replicas.clock.advance(SECOND);
    first.line.release();
    await replicas.clock.advance(2 * SECOND);
    expect([(await asked).outcome, (await joined).outcome]).toEqual(['REFRESHED', 'JOINED']);
    expect(replicas.mints() - before).toBe(1);
    expect(second.events.filter(({ type }) => type === 'refresh_failed')).toEqual([]);
  },
);

test('a refresh refused for its haste does not put off the mint that is owed after a lost one', async () => {
  const replicas = await Replicas.started(2, { settings: { cooldownMs: HOUR } });
  const [first, second] = [replicas.get('r1'), replicas.get('r2')];
  const before = replicas.mints();
  first.line.hold = 'lost';
  void first.broker.forceRefresh('wxc', undefined);
  await replicas.until(() => replicas.mints() > before, SECOND);
  await replicas.clock.advance(SECOND); // the other has heard of it
  const waiting = second.broker.forceRefresh('wxc', undefined).catch((error: unknown) => error);
  await replicas.kill(first);
  await replicas.clock.advance(30 * SECOND); // it is dead by now, and its mint is lost
  expect(await waiting).toMatchObject({ reason: 'COOLDOWN' });
  await everGood(replicas, 10 * MINUTE);
  expect(replicas.mints() - before).toBeLessThanOrEqual(3);
});

test('a replica that dies at a mint while an older one is waited for has its token looked for at once', async () => {
  const replicas = await Replicas.started(2, { apps: { wxc: 'stable' } });
  const first = replicas.get('r1');
  first.line.hold = 'before';
  const late = first.broker.forceRefresh('wxc', undefined).catch((error: unknown) => error);
  await replicas.clock.advance(35 * SECOND);
  expect(await late).toMatchObject({ reason: 'UPSTREAM_TIMEOUT' });
  first.line.hold = 'lost';
  const before = replicas.mints();
  void first.broker.forceRefresh('wxc', undefined);
  await replicas.until(() => replicas.mints() > before, SECOND);
  await replicas.kill(first);
  await replicas.clock.advance(100 * SECOND);
  first.line.release(); // WeChat now honours what it minted before, and nothing older
  await everGood(replicas, 10 * MINUTE);
});

test('a token that is not stored yet is replaced as one that is', async () => {
  const replicas = await Replicas.started(1, { apps: { wxc: 'stable' } });
  const first = replicas.get('r1');
  const { generation } = replicas.state(first);
  first.connection.way.state = 'cut';
  await replicas.until(() => replicas.state(first).generation > generation, 3 * HOUR);
  replicas.wechat.kill('wxc', { issuer: 'stable', which: 'all' });
  await replicas.clock.advance(replicas.settings.probeIntervalMs + 5 * SECOND);
  expect(replicas.agreed()).toBe(true);
  first.connection.way.state = 'open';
  await replicas.clock.advance(5 * SECOND);
  expect(replicas.agreed()).toBe(true);
  expect(first.events.filter(({ type }) => type === 'rotated')).toHaveLength(3);
});

test('a failure that cannot be told is waited out all the same', async () => {
  const replicas = await Replicas.started(1, { apps: { wxc: 'stable' }, settings: { probeIntervalMs: 0 } });
  const first = replicas.get('r1');
  const { generation } = replicas.state(first);
  first.connection.way.state = 'cut';
  await replicas.until(() => replicas.state(first).generation > generation, 3 * HOUR); // it is not stored
  replicas.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 89501 } }); // and asks administrators at each call
  const failed = () => first.events.filter(({ type }) => type === 'refresh_failed').length;
  await replicas.until(() => failed() > 0, 3 * HOUR);
  const { stable } = replicas.wechat.counts('wxc');
  await replicas.clock.advance(9 * MINUTE);
  expect(replicas.wechat.counts('wxc').stable).toBe(stable);
  await replicas.clock.advance(2 * MINUTE);
  expect(replicas.wechat.counts('wxc').stable).toBe(stable + 1);
});

test('a replica that cannot reach the store notices by itself that its token died', async () => {
  const replicas = await Replicas.started(3, { apps: { wxc: 'stable' } });
  const [cut] = replicas.others();
  if (!cut) throw new Error('no replicas');
  const { probeIntervalMs } = replicas.settings;
  cut.connection.way.state = 'cut';
  await replicas.clock.advance(5 * SECOND);
  replicas.wechat.kill('wxc', { issuer: 'stable', which: 'all' });
  await replicas.clock.advance(probeIntervalMs + 5 * SECOND);
  expect(replicas.wechat.honours('wxc', replicas.state(cut).current?.value ?? '')).toBe(true);
});

test.each(['stable', 'classic'] as const)(
  'while it waits for another at a mint, %s, a replica does not wait for a store that went away',
  async (issuer) => {
    const replicas = await Replicas.started(2, { apps: { wxc: issuer } });
    await replicas.clock.advance(5 * SECOND);
    const [first, second] = [replicas.owner(), ...replicas.others()] as [Replica, Replica];
    const { generation } = replicas.state(first);
    replicas.wechat.kill('wxc', { issuer, which: 'all', stuck: true });
    first.line.hold = 'before';
    first.line.holdsReads = false;
    const signal = new AbortController().signal;
    first.broker.forceRefresh('wxc', { kind: 'generation', generation }, signal).catch(() => undefined);
    await replicas.until(() => first.line.waiting > 0, MINUTE);
    const answer = second.broker
      .forceRefresh('wxc', { kind: 'generation', generation }, signal)
      .catch((error) => error);
    await replicas.clock.advance(SECOND / 2);
    for (const { connection } of replicas.all) connection.way.state = 'cut';
    await replicas.kill(first);
    await replicas.clock.advance(2 * POLL);
    expect(await Promise.race([answer, 'waiting'])).toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  },
);

test('a replica that lives and cannot write what became of its mint is waited for no longer than a mint can take', async () => {
  const replicas = await Replicas.started(2);
  const [first, mute] = [replicas.owner(), ...replicas.others()] as [Replica, Replica];
  mute.connection.way.state = 'deaf';
  await expect(mute.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  expect(replicas.store.records.get('wxc')?.app.shared?.intents).toHaveLength(1);
  mute.connection.way.state = 'open';
  mute.connection.replace = () => Promise.reject(new Error('the store does not answer'));
  await replicas.clock.advance(3 * SECOND); // what a probe said has gone stale
  replicas.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
  const { generation } = replicas.state(first);
  const told = first.broker.forceRefresh('wxc', { kind: 'generation', generation }).catch((error) => error);
  const { cooldownMs, timeoutMs } = replicas.settings;
  const longest = Math.max(cooldownMs, LEASE + 2 * timeoutMs);
  // It is refused for the cooldown; then it is the other's turn, for two leases.
  await replicas.until(() => replicas.agreed(), longest + 2 * LEASE + POLL);
  await told;
});

test('a generation that only the store would know is not said to have never been published while it is away', async () => {
  const replicas = await Replicas.started(2);
  const [cut] = replicas.others() as [Replica];
  cut.connection.way.state = 'cut';
  const refreshed = replicas.owner().broker.forceRefresh('wxc', undefined);
  await replicas.clock.advance(SECOND);
  const { state } = await refreshed;
  const report = () => cut.broker.forceRefresh('wxc', { kind: 'generation', generation: state.generation });
  await expect(report()).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE', retryAfterMs: 2 * SECOND });
  cut.connection.way.state = 'open';
  expect((await report()).outcome).toBe('STILL_VALID');
});

test('what a failure told by a clock that was set back since says of its next attempt is not waited for', async () => {
  const replicas = await Replicas.started(2, { apps: { wxc: 'classic' } });
  await replicas.clock.advance(45 * MINUTE);
  for (const { line } of replicas.all) line.hold = 'lost';
  const hasFailed = () => replicas.all.some(({ events }) => events.some(({ type }) => type === 'refresh_failed'));
  await replicas.until(hasFailed, 30 * MINUTE);
  const stored = replicas.store.snapshot();
  for (const replica of [...replicas.running]) await replicas.kill(replica);
  replicas.storeAheadMs = -30 * MINUTE;
  replicas.store.restart(stored);
  const { generation } = stored.records.get('wxc')?.app ?? { generation: 0 };
  const fresh = await replicas.add();
  await replicas.until(() => replicas.state(fresh).generation > generation, 2 * MINUTE);
  expect(replicas.agreed()).toBe(true);
});

test('a token that came between a forced call and the read after it leaves no previous one', async () => {
  const replicas = await Replicas.started(2, { apps: { wxc: 'stable' } });
  const first = replicas.get('r1');
  first.line.hold = 'after';
  const forced = first.broker.forceRefresh('wxc', undefined);
  await replicas.until(() => first.line.waiting > 0, SECOND);
  replicas.wechat.kill('wxc', { issuer: 'stable', which: 'current' });
  first.line.release();
  await replicas.clock.advance(3 * SECOND);
  expect((await forced).outcome).toBe('REFRESHED');
  expect(replicas.agreed()).toBe(true);
  expect(replicas.all.map((replica) => replicas.state(replica).previous)).toEqual([null, null]);
});

describe('a watcher that has a generation which the store has lost', () => {
  const watching = (replica: Replica, known: number) => {
    const watch = replica.broker.watch({ appIds: ['wxc'], known: new Map([['wxc', known]]) });
    return () => {
      const states: TokenState[] = [];
      for (let event = watch.take(); event; event = watch.take()) if (event.type === 'state') states.push(event.state);
      return states;
    };
  };

  test('is told of the token that is here, numbered above it, at every replica', async () => {
    const replicas = await Replicas.started(2);
    const [first, second] = [replicas.get('r1'), replicas.get('r2')];
    const { generation, current } = replicas.state(first);
    const lost = generation + 20 * MINUTE;
    const told = watching(first, lost);
    await replicas.clock.advance(3 * SECOND);
    const states = told();
    expect(states.map((state) => state.current?.value)).toEqual([current?.value]);
    expect(states[0]?.generation).toBeGreaterThan(lost);
    expect(replicas.state(second)).toMatchObject({ generation: states[0]?.generation, current });
    expect(replicas.mints()).toBe(1);
    // Nobody got a token by it that they had not.
    const adopted = [first, second].flatMap(({ events }) => events.filter(({ type }) => type === 'adopted'));
    expect(new Set(adopted.map((event) => 'generation' in event && event.generation))).toEqual(new Set([generation]));
  });

  test('is told of the first token where nothing is left', async () => {
    const replicas = new Replicas();
    const lost = replicas.clock.now() + 20 * MINUTE;
    const replica = await replicas.add();
    replica.line.hold = 'after';
    const told = watching(replica, lost);
    await replicas.clock.advance(3 * SECOND);
    replica.line.release();
    await replicas.clock.advance(20 * SECOND);
    const [last] = told().slice(-1);
    expect(replicas.wechat.honours('wxc', last?.current?.value ?? '')).toBe(true);
    expect(last?.generation).toBeGreaterThan(lost);
  });

  test('keeps its token where the clock is there already: the next one is numbered above it anyway', async () => {
    const replicas = await Replicas.started(2);
    const first = replicas.get('r1');
    const { generation } = replicas.state(first);
    const told = watching(first, generation + 20 * SECOND);
    await replicas.clock.advance(3 * SECOND);
    expect(told()).toEqual([]);
    expect(replicas.state(first).generation).toBe(generation);
    await first.broker.forceRefresh('wxc', undefined);
    expect(told()[0]?.generation).toBeGreaterThan(generation + 20 * SECOND);
  });

  test('is told of the next token too where the clock is set back after it came', async () => {
    const replicas = await Replicas.started(2);
    const first = replicas.get('r1');
    const lost = replicas.state(first).generation + 20 * SECOND;
    const told = watching(first, lost);
    replicas.storeAheadMs = -10 * MINUTE;
    await replicas.clock.advance(5 * SECOND);
    await first.broker.forceRefresh('wxc', undefined);
    await replicas.clock.advance(5 * SECOND);
    const [last] = told().slice(-1);
    expect(last?.current).toEqual(replicas.state(first).current);
    expect(last?.generation).toBeGreaterThan(lost);
  });

  test('does not have a refresh made twice that is under way', async () => {
    const replicas = await Replicas.started(2);
    const first = replicas.get('r1');
    const lost = replicas.state(first).generation + 20 * MINUTE;
    first.line.hold = 'after';
    const forced = first.broker.forceRefresh('wxc', undefined);
    await replicas.until(() => first.line.waiting > 0, SECOND);
    const told = watching(first, lost);
    await replicas.clock.advance(SECOND);
    first.line.release();
    await replicas.clock.advance(3 * SECOND);
    expect((await forced).outcome).toBe('REFRESHED');
    await replicas.clock.advance(5 * MINUTE);
    const [last] = told().slice(-1);
    expect(last).toMatchObject({ current: replicas.state(first).current });
    expect(last?.generation).toBeGreaterThan(lost);
    expect(replicas.mints()).toBe(2);
    expect(replicas.agreed()).toBe(true);
  });

  test('is not believed where it is the day after tomorrow, or while the store cannot be asked', async () => {
    const replicas = await Replicas.started(2);
    const first = replicas.get('r1');
    const { generation } = replicas.state(first);
    watching(first, generation + 48 * HOUR);
    await replicas.clock.advance(3 * SECOND);
    first.connection.way.state = 'cut';
    watching(first, generation + 20 * MINUTE);
    await replicas.clock.advance(3 * SECOND);
    expect(replicas.state(first).generation).toBe(generation);
  });
});

/** Every replica that runs has a token that WeChat honours, all the time; and at the end all have the same. */
async function everGood(replicas: Replicas, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += SECOND) {
    await replicas.clock.advance(SECOND);
    for (const replica of replicas.running) {
      const { current } = replicas.state(replica);
      expect(replicas.wechat.honours('wxc', current?.value ?? ''), `${replica.name} after ${passed} ms`).toBe(true);
    }
  }
  expect(replicas.agreed()).toBe(true);
}

test('a replica tells how often it polls', async () => {
  const replicas = new Replicas();
  await replicas.add();
  expect([...replicas.store.members.values()]).toMatchObject([{ replica: 'r1', pollMs: POLL }]);
});

describe.each([
  ['classic', 'stable'],
  ['stable', 'classic'],
] as const)('replicas with the issuer %s, and others with %s', (issuer, other) => {
  const otherwise = (replicas: Replicas) => ({ apps: replicas.apps.map((app) => ({ ...app, issuer: other })) });

  test('do not replace the tokens of one another as they come, and say so', async () => {
    const names = ['wx1', 'wx2', 'wx3', 'wx4', 'wx5', 'wx6'];
    const replicas = await Replicas.started(3, { apps: Object.fromEntries(names.map((name) => [name, issuer])) });
    const odd = await replicas.add(otherwise(replicas));
    await replicas.clock.advance(30 * MINUTE);
    for (const name of names) {
      expect(replicas.mints(name)).toBeLessThanOrEqual(2);
      expect(replicas.agreed(name)).toBe(true);
      const reasons = replicas.all.map((replica) => replicas.state(replica, name).statusReason);
      expect(reasons.filter((reason) => reason.includes('another issuer'))).not.toEqual([]);
      expect(replicas.state(odd, name).status).toBe('FRESH');
    }
  });

  test('are what a rolling change makes of them for a while: each app is moved once', async () => {
    const names = ['wx1', 'wx2', 'wx3', 'wx4', 'wx5', 'wx6'];
    const replicas = await Replicas.started(3, { apps: Object.fromEntries(names.map((name) => [name, issuer])) });
    for (const old of replicas.running) {
      await old.broker.drain(1_000);
      await replicas.kill(old);
      await replicas.add(otherwise(replicas));
      await replicas.clock.advance(5 * SECOND);
    }
    await replicas.clock.advance(5 * MINUTE);
    for (const name of names) {
      expect(replicas.mints(name)).toBe(2);
      expect(replicas.agreed(name)).toBe(true);
      const shown = replicas.running.map((replica) => replicas.state(replica, name).current?.id);
      const [used] = replicas.wechat.tokens(name).filter(({ id }) => shown.includes(id));
      expect(used?.issuer).toBe(other);
      for (const replica of replicas.running) expect(replicas.state(replica, name)).toMatchObject({ statusReason: '' });
    }
  });
});
