import { expect, test } from 'vitest';
import { DeadReplicaReaper } from '../../../src/core/cluster/dead-replica-reaper.ts';
import { settle } from '../../support/clock.ts';
import { LEASE, POLL, Replicas } from '../../support/replicas.ts';
import { MINUTE } from '../../support/world.ts';

/** A replica that dies, and one that is told of it and fails to see to it as long as `fails`. */
async function death() {
  const replicas = new Replicas();
  const told: string[] = [];
  const trouble = { fails: true };
  const survivor = await replicas.add({
    onDeath: async (name) => {
      told.push(name);
      if (trouble.fails) throw new Error('the store does not answer');
    },
  });
  const dead = await replicas.add();
  await replicas.clock.advance(MINUTE);
  dead.life.stop();
  await replicas.clock.advance(LEASE + 2 * POLL);
  return { replicas, told, trouble, survivor, dead };
}

test('what a dead replica left is seen to at each poll until that has succeeded, and then no more', async () => {
  const { replicas, told, trouble } = await death();
  const before = told.length;
  expect(before).toBeGreaterThan(0);
  await replicas.clock.advance(3 * POLL);
  expect(told).toHaveLength(before + 3);
  trouble.fails = false;
  await replicas.clock.advance(MINUTE);
  expect(told).toHaveLength(before + 4);
  expect(new Set(told)).toEqual(new Set(['r2']));
});

test('a dead replica stays a member until what it left has been seen to', async () => {
  const { replicas, trouble } = await death();
  await replicas.clock.advance(41 * LEASE);
  expect([...replicas.store.members.keys()]).toEqual(['r1', 'r2']);
  trouble.fails = false;
  await replicas.clock.advance(2 * POLL);
  expect([...replicas.store.members.keys()]).toEqual(['r1']);
});

test('one that lives again is left alone, and seen to again when it dies again', async () => {
  const { replicas, told, trouble, dead } = await death();
  trouble.fails = false;
  await replicas.clock.advance(POLL);
  dead.life.resume();
  await replicas.clock.advance(MINUTE);
  const before = told.length;
  dead.life.stop();
  await replicas.clock.advance(MINUTE);
  expect(told).toHaveLength(before + 1);
});

test('a reaping that ends after its replica has come back and died again says nothing of the second death', async () => {
  const asked: ((fails: boolean) => void)[] = [];
  const reaper = new DeadReplicaReaper((name) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    asked.push((fails) => (fails ? reject(new Error(name)) : resolve()));
    return promise;
  });
  const r1 = (alive: boolean) => [{ member: { replica: 'r1', beat: 1, address: '' }, silentMs: 0, alive }];
  for (const alive of [false, true, false]) reaper.look(r1(alive));
  expect(asked).toHaveLength(2);
  asked[0]?.(false);
  await settle();
  expect(reaper.isDone('r1')).toBe(false);
  asked[1]?.(false);
  await settle();
  expect(reaper.isDone('r1')).toBe(true);
});

test('a replica that leaves is off the list once what it left has been seen to, and else dies', async () => {
  for (const isClean of [true, false]) {
    const replicas = new Replicas();
    const told: string[] = [];
    await replicas.add({ onDeath: async (name) => void told.push(name) });
    const onLeave = async () => {
      expect([...replicas.store.members.keys()]).toEqual(['r1', 'r2']);
      if (!isClean) throw new Error('a message is under way');
    };
    const leaving = await replicas.add({ onLeave });
    await replicas.clock.advance(MINUTE);
    await leaving.broker.drain(1_000);
    await replicas.kill(leaving);
    expect([...replicas.store.members.keys()]).toEqual(isClean ? ['r1'] : ['r1', 'r2']);
    await replicas.clock.advance(LEASE + 2 * POLL);
    expect(told).toEqual(isClean ? [] : ['r2']);
  }
});
