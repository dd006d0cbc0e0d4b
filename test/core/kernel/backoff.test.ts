import { expect, it } from 'vitest';
import { backoffMs } from '../../../src/core/kernel/backoff.ts';

it.each([
  [1, 1_000, 2_000],
  [2, 1_000, 4_000],
  [3, 1_000, 8_000],
  [4, 1_000, 16_000],
  [5, 15_500, 19_000],
  [100, 15_500, 19_000],
  [10_000, 15_500, 19_000],
])('after %i failures the next attempt begins %i to %i ms later', (failures, least, most) => {
  expect(backoffMs(failures, () => 0)).toBe(least);
  expect(backoffMs(failures, () => 1)).toBe(most);
});

it('a lasting outage is asked about at most 240 times an hour', () => {
  expect(3_600_000 / backoffMs(5, () => 0)).toBeLessThan(240);
});
