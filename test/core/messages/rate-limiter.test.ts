import { expect, it } from 'vitest';
import { afterMessage, givenBack, RESTED, waitMs } from '../../../src/core/messages/rate-limiter.ts';

/** When each of `count` messages may go, if all want to at 0. */
function times(count: number, ratePerSecond: number): number[] {
  let limiter = RESTED;
  let now = 0;
  return Array.from({ length: count }, () => {
    now += waitMs(limiter, now, ratePerSecond);
    limiter = afterMessage(limiter, now, ratePerSecond);
    return now;
  });
}

it.each([
  [0, [0, 0, 0, 0, 0]],
  [1, [0, 1000, 2000, 3000, 4000]],
  [10, [0, 100, 200, 300, 400]],
  [20, [0, 0, 50, 100, 150]],
  [0.5, [0, 2000, 4000, 6000, 8000]],
])('at %d a second messages go at %j', (rate, expected) => {
  expect(times(5, rate)).toEqual(expected);
});

it.each([1, 3, 7, 100, 999, 5000])('at %i a second no more go in any second, but for the burst', (rate) => {
  const all = times(Math.ceil(rate * 3), rate);
  for (const from of all) {
    const within = all.filter((at) => at >= from && at < from + 1_000).length;
    expect(within).toBeLessThanOrEqual(rate * 1.1 + 1);
  }
  expect(all.at(-1)).toBeGreaterThan(2_700 - 1_000 / rate);
  expect(all.at(-1)).toBeLessThanOrEqual(3_001);
});

it('a turn that is given back may be taken by the next', () => {
  const limiter = afterMessage(afterMessage(RESTED, 0, 1), 0, 1);
  expect(waitMs(limiter, 0, 1)).toBe(2_000);
  expect(waitMs(givenBack(limiter, 1), 0, 1)).toBe(1_000);
  expect(waitMs(givenBack(RESTED, 0), 0, 0)).toBe(0);
});
