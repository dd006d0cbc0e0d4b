import { expect, test } from 'vitest';
import { Members } from '../../../src/core/cluster/members.ts';
import { SECOND } from '../../support/world.ts';

const LEASE = 15 * SECOND;
const POLL = 2 * SECOND;
const member = (replica: string, beat: number) => ({ replica, beat, address: '' });

/** Members as replica `me` sees them, with a poll every two seconds. */
function circle() {
  const members = new Members({ self: 'me', leaseMs: LEASE, pollMs: POLL });
  let now = 0;
  let beat = 0;
  const look = (others: readonly string[], ms = POLL, beats = false) => {
    now += ms;
    if (beats) beat++;
    return members.look([member('me', now), ...others.map((name) => member(name, beat))], now);
  };
  return { members, look };
}

test('a replica whose beat stands still for a lease is dead, and lives again when it moves', () => {
  const { members, look } = circle();
  look(['a']);
  const deaths = Array.from({ length: 8 }, () => look(['a']).died);
  expect(deaths.flat()).toEqual(['a']);
  expect(members.isOther('a')).toBe(false);
  expect(look(['a'], POLL, true)).toEqual({ died: [], changed: true });
  expect(members.living()).toEqual(['a', 'me']);
});

test('a sign of life from elsewhere revives a replica, and the next look says so', () => {
  const { members, look } = circle();
  look(['a']);
  for (let i = 0; i < 8; i++) look(['a']);
  members.heard('a');
  expect(members.isOther('a')).toBe(true);
  expect(look(['a'])).toEqual({ died: [], changed: true });
  expect(look(['a'])).toEqual({ died: [], changed: false });
});

test('a replica is not judged by one that did not look', () => {
  const { members, look } = circle();
  look(['a']);
  expect(look(['a'], 60 * SECOND)).toEqual({ died: [], changed: false });
  expect(members.isOther('a')).toBe(true);
});

test('a replica that has left is dead at once', () => {
  const { members, look } = circle();
  look(['a']);
  expect(look([])).toEqual({ died: [], changed: true });
  expect(members.isOther('a')).toBe(false);
});

test('one that no poll has shown yet may have just begun, for a lease', () => {
  const { members, look } = circle();
  look([]);
  expect(members.isOther('a')).toBe(true);
  const changes = Array.from({ length: 8 }, () => look([]).changed);
  expect(changes.filter(Boolean)).toHaveLength(1);
  expect(members.isOther('a')).toBe(false);
});

test('one that has left is dead for as long as anybody asks, and forgotten when nobody has for 40 leases', () => {
  const { members, look } = circle();
  const leases = (count: number) => Array.from({ length: count * 8 }, () => look([]).changed);
  look(['a', 'b']);
  look([]);
  for (let i = 0; i < 5; i++) {
    expect(leases(20).some(Boolean)).toBe(false);
    expect(members.isOther('a')).toBe(false);
  }
  expect(members.isOther('b')).toBe(true); // as one that nothing is known of
  leases(1);
  expect(members.isOther('b')).toBe(false);
});

test('it is no other itself', () => {
  const { members, look } = circle();
  look(['a']);
  expect([members.isOther('me'), members.isOther('')]).toEqual([false, false]);
});
