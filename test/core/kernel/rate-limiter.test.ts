import { expect, it } from 'vitest';
import { RateLimiter } from '../../../src/core/kernel/rate-limiter.ts';

/** When each of `count` turns may be taken, if all are wanted at 0. */
function times(limiter: RateLimiter, count: number): number[] {
  let now = 0;
  return Array.from({ length: count }, () => {
    now += limiter.waitMs(now);
    expect(limiter.take(now)).toBe(0);
    return now;
  });
}

it.each([
  ['no limit', 0, 0, [0, 0, 0, 0, 0]],
  ['no limit, with a burst', 0, 100, [0, 0, 0, 0, 0]],
  ['no burst', 1_000, 0, [0, 1_000, 2_000, 3_000, 4_000]],
  ['one more at once', 50, 50, [0, 0, 50, 100, 150]],
  ['half a turn early', 100, 50, [0, 50, 150, 250, 350]],
  ['five at once', 2_000, 8_000, [0, 0, 0, 0, 0, 2_000, 4_000]],
  ['fewer than none early', 2_000, -1_900, [0, 2_000, 4_000]],
  ['fractions are rounded up', 1_000 / 3, 0, [0, 334, 668, 1_002]],
])('%s', (_, everyMs, earlyMs, expected) => {
  expect(times(new RateLimiter({ everyMs, earlyMs }), expected.length)).toEqual(expected);
});

it.each([1, 3, 7, 100, 999, 5_000])('at %i a second no more are taken in any second, but for the burst', (rate) => {
  const everyMs = 1_000 / rate;
  const all = times(new RateLimiter({ everyMs, earlyMs: 100 - everyMs }), Math.ceil(rate * 3));
  for (const from of all) {
    const within = all.filter((at) => at >= from && at < from + 1_000).length;
    expect(within).toBeLessThanOrEqual(rate * 1.1 + 1);
  }
  expect(all.at(-1)).toBeGreaterThan(2_700 - 1_000 / rate);
  expect(all.at(-1)).toBeLessThanOrEqual(3_001 + (rate < 1_000 ? rate : 0));
});

it('a turn that is refused takes none, and one that is given back may be taken by the next', () => {
  const limiter = new RateLimiter({ everyMs: 1_000, earlyMs: 1_000 });
  expect([limiter.take(0), limiter.take(0), limiter.take(0), limiter.take(0)]).toEqual([0, 0, 1_000, 1_000]);
  limiter.giveBack();
  expect([limiter.waitMs(0), limiter.take(0), limiter.waitMs(0)]).toEqual([0, 0, 1_000]);
});

it('what is not used is not saved up beyond the burst', () => {
  const limiter = new RateLimiter({ everyMs: 1_000, earlyMs: 0 });
  expect([limiter.take(60_000), limiter.take(60_000)]).toEqual([0, 1_000]);
});
