import { describe, expect, it } from 'vitest';
import { Timeline, wallOf } from '../../../src/core/kernel/timeline.ts';
import { HOUR, SECOND } from '../../support/world.ts';

/** A clock whose times are set by hand. */
function clockAt(wall: number, monotonic: number) {
  const times = { wall, monotonic };
  const clock = { now: () => times.wall, monotonic: () => times.monotonic, schedule: () => ({ cancel: () => {} }) };
  return { times, timeline: new Timeline(clock) };
}

describe('time that passes', () => {
  it('is elapsed, and moves nothing', () => {
    const { times, timeline } = clockAt(1_000_000, 0);
    times.wall += HOUR;
    times.monotonic += HOUR;
    expect([timeline.elapsed(), timeline.jumped, timeline.resync()]).toEqual([HOUR, false, 0]);
    expect(timeline.wallOf(HOUR)).toBe(1_000_000 + HOUR);
  });

  it('at slightly different speeds is the clocks’ own affair', () => {
    const { times, timeline } = clockAt(1_000_000, 0);
    times.wall += 999;
    expect([timeline.jumped, timeline.resync(), timeline.leaptMs]).toEqual([false, 0, 0]);
  });
});

describe.each([
  ['a machine that slept, or a clock that was set forward', 3 * HOUR, 3 * HOUR, 0],
  ['a clock that was set back', -HOUR, 0, -HOUR],
])('%s', (_, byMs, leaptMs, shift) => {
  const { times, timeline } = clockAt(1_000_000, 0);
  const moment = timeline.elapsed();
  times.wall += byMs;

  it('shows, and is adopted once', () => {
    expect(timeline.jumped).toBe(true);
    expect(timeline.resync()).toBe(byMs);
    expect([timeline.jumped, timeline.resync()]).toEqual([false, 0]);
  });

  it('ages what is counted in elapsed time by a leap, and by nothing else', () => {
    expect([timeline.elapsed(), timeline.leaptMs]).toEqual([leaptMs, leaptMs]);
  });

  it('leaves the wall times of moments as they were, unless the clock was set back', () => {
    expect(timeline.wallOf(moment)).toBe(1_000_000 + shift);
    expect(timeline.momentOf(1_000_000 + shift)).toBe(moment);
  });
});

it('a moment has all scales at once, and goes on converting by them', () => {
  const { times, timeline } = clockAt(1_000_000, 0);
  times.wall += 2 * HOUR;
  times.monotonic += SECOND;
  timeline.resync();
  const moment = timeline.moment();
  expect(moment).toMatchObject({ elapsed: 2 * HOUR, wall: 1_000_000 + 2 * HOUR, leaptMs: 2 * HOUR - SECOND });
  times.wall -= HOUR;
  timeline.resync();
  expect(wallOf(moment, moment.elapsed)).toBe(1_000_000 + 2 * HOUR);
});
