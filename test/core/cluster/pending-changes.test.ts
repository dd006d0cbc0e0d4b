import { beforeEach, describe, expect, it } from 'vitest';
import { PendingChanges } from '../../../src/core/cluster/pending-changes.ts';
import { type SharedChange, sharedRules } from '../../../src/core/cluster/shared-change.ts';
import { Timeline } from '../../../src/core/kernel/timeline.ts';
import type { Land } from '../../../src/core/tokens/record-change.ts';
import { HELD, issued, NOW, WALL } from '../../support/records.ts';
import { SECOND, SETTINGS } from '../../support/world.ts';

const times = { wall: WALL, monotonic: NOW };
let pending: PendingChanges;
beforeEach(() => {
  Object.assign(times, { wall: WALL, monotonic: NOW });
  const clock = {
    now: () => times.wall,
    monotonic: () => times.monotonic,
    schedule: () => ({ cancel: () => undefined }),
  };
  pending = new PendingChanges(sharedRules(SETTINGS, 'r1'), new Timeline(clock));
});

const raise = (above: number, to: number): SharedChange => ({ type: 'raise_generation', above, to });
const cooldown: SharedChange = { type: 'start_cooldown' };
/** A read that brought another token. */
const LAND: Land = {
  type: 'land',
  issued: issued('b', { mintedAt: undefined }),
  base: 7,
  issuer: 'stable',
  trusted: true,
  isQuiet: true,
  wallNow: WALL,
  generationStep: 1,
  draw: 0.5,
};
const STABLE = { ...HELD, issuer: 'stable' } as const;

describe('a replay', () => {
  it('makes all changes in order, each on what the one before has made, and leaves the record', () => {
    const before = structuredClone(HELD);
    const [first, second] = [pending.add(raise(8, 20)), pending.add(raise(15, 30))];
    pending.add(cooldown);
    expect(pending.replay(HELD)).toEqual({ ...HELD, generation: 20, lastForcedAt: NOW });
    expect([first, second].map(({ reduced }) => reduced.record.generation)).toEqual([20, 20]);
    expect(HELD).toEqual(before);
    expect(pending.size).toBe(3);
  });

  it('without changes is the record', () => {
    expect(pending.replay(HELD)).toBe(HELD);
  });

  it('again, on a newer record, makes all of them anew, at the moment of it', () => {
    const change = pending.add(cooldown);
    pending.replay(HELD);
    Object.assign(times, { wall: WALL + SECOND, monotonic: NOW + SECOND });
    const newer = { ...HELD, generation: 9 };
    expect(pending.replay(newer)).toEqual({ ...newer, lastForcedAt: NOW + SECOND });
    expect(change.reduced.record).toMatchObject({ generation: 9, lastForcedAt: NOW + SECOND });
  });

  it('gives a token the generation that it had, though the clock was set back meanwhile', () => {
    const change = pending.add(LAND);
    const { generation } = pending.replay(STABLE);
    times.wall -= 3_600_000;
    expect(pending.replay(STABLE).generation).toBe(generation);
    expect(change.reduced.result).toBe('rotated');
  });

  it('knows the token that the store has, where the answer of the write was lost', () => {
    const change = pending.add(LAND);
    const written = pending.replay(STABLE);
    expect(pending.replay(written).generation).toBe(written.generation);
    expect(change.reduced.result).toBe('rotated');
  });
});

describe('changes', () => {
  it('that are stored are dropped from the front, and the others stay', () => {
    for (const change of [raise(8, 20), raise(25, 30), cooldown]) pending.add(change);
    pending.drop(2);
    expect(pending.size).toBe(1);
    expect(pending.replay(HELD)).toEqual({ ...HELD, lastForcedAt: NOW });
  });

  it('that come first are made before those that wait', () => {
    pending.add(raise(15, 30));
    pending.addFirst(raise(8, 20));
    expect(pending.replay(HELD).generation).toBe(20);
    pending.addFirst(raise(8, 10));
    expect(pending.replay(HELD).generation).toBe(30);
  });

  it('may be made without being kept', () => {
    expect(pending.make(HELD, cooldown).record.lastForcedAt).toBe(NOW);
    expect(pending.size).toBe(0);
  });
});

describe('the own generation', () => {
  it('is the last that an answer here has brought', () => {
    expect(pending.ownGeneration).toBe(0);
    pending.add(raise(8, 20));
    pending.replay(HELD);
    expect(pending.ownGeneration).toBe(0);
    pending.add(LAND);
    pending.drop(1);
    expect(pending.replay(STABLE).generation).toBe(WALL);
    expect(pending.ownGeneration).toBe(WALL);
  });

  it('is none where another replica was first', () => {
    pending.add(LAND);
    pending.replay({ ...STABLE, generation: 8 });
    expect(pending.ownGeneration).toBe(0);
  });
});
