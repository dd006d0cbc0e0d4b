import { expect, test } from 'vitest';
import { type Replica, Replicas } from '../../support/replicas.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

test('how long ago a replica got a token is by its own monotonic clock, however wrong its wall clock is', async () => {
  const replicas = new Replicas();
  replicas.storeAheadMs = 10 * MINUTE;
  for (let i = 0; i < 2; i++) await replicas.add();
  await replicas.clock.advance(MINUTE);
  const now = replicas.clock.monotonic();
  for (const replica of replicas.all) {
    const { answeredAt, current } = replicas.state(replica);
    expect(current).not.toBeNull();
    expect(answeredAt).toBeLessThanOrEqual(now);
    expect(answeredAt).toBeGreaterThan(now - 61 * SECOND);
  }
});

test('how long a call took is told as it was after a sleep, too', async () => {
  const replicas = await Replicas.started(2);
  replicas.clock.sleep(3 * HOUR);
  await replicas.clock.advance(MINUTE);
  const [first] = replicas.all as [Replica];
  first.line.hold = 'after';
  const refreshed = first.broker.forceRefresh('wxc', undefined);
  await replicas.until(() => first.line.waiting > 0, SECOND);
  await replicas.clock.advance(2 * SECOND);
  first.line.release();
  await replicas.clock.advance(SECOND);
  await refreshed;
  const rotated = first.events.filter((event) => event.type === 'rotated').at(-1);
  expect(rotated?.durationMs).toBeGreaterThanOrEqual(2 * SECOND);
});

test('a store that goes back after a sleep costs no mint', async () => {
  const replicas = await Replicas.started(2);
  replicas.clock.sleep(3 * HOUR);
  await replicas.clock.advance(MINUTE);
  const old = replicas.store.snapshot();
  const refreshed = replicas.owner().broker.forceRefresh('wxc', undefined);
  await replicas.clock.advance(10 * SECOND);
  expect((await refreshed).outcome).toBe('REFRESHED');
  const before = replicas.mints();
  replicas.store.restart(old);
  await replicas.clock.advance(10 * MINUTE);
  expect(replicas.mints()).toBe(before);
  expect(replicas.agreed()).toBe(true);
});
