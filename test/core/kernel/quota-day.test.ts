import { expect, it } from 'vitest';
import { oldestQuotaDay, quotaDay, quotaResetAt, shanghaiDay } from '../../../src/core/kernel/quota-day.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** Noon and midnight in Shanghai. */
const NOON = Date.UTC(2026, 0, 15, 4, 0, 0);
const MIDNIGHT = NOON + 12 * HOUR;

it.each([
  ['a minute after midnight', 'daily_quota', NOON, 0, MIDNIGHT + MINUTE],
  ['where the call left just before', 'daily_quota', MIDNIGHT - 1, 0, MIDNIGHT + MINUTE],
  ['and just after, since WeChat may be behind', 'daily_quota', MIDNIGHT + 59 * SECOND, 0, MIDNIGHT + MINUTE],
  ['the next day from then on', 'daily_quota', MIDNIGHT + MINUTE, 0, MIDNIGHT + 24 * HOUR + MINUTE],
  ['at another hour', 'daily_quota', MIDNIGHT, 2, MIDNIGHT + 2 * HOUR + MINUTE],
  ['two seconds after the minute', 'minute_quota', NOON + 20 * SECOND, 0, NOON + 62 * SECOND],
  ['where WeChat may be behind', 'minute_quota', NOON + SECOND, 0, NOON + 2 * SECOND],
  ['the next minute from then on', 'minute_quota', NOON + 2 * SECOND, 0, NOON + 62 * SECOND],
] as const)('a quota has reset: %s', (_, quota, startedAt, hour, expected) => {
  expect(quotaResetAt(quota, startedAt, hour)).toBe(expected);
});

it.each([
  [MIDNIGHT - 1, 0, 0],
  [MIDNIGHT, 0, 1],
  [MIDNIGHT + HOUR, 2, 0],
  [MIDNIGHT + 2 * HOUR, 2, 1],
])('days begin in Shanghai, at the hour of the reset: %d, %i', (now, hour, later) => {
  expect(quotaDay(now, hour) - shanghaiDay(NOON)).toBe(later);
});

it('a day that is forgotten has ended at every hour at which it may begin', () => {
  for (let hour = 0; hour < 24; hour++)
    for (let now = NOON; now < NOON + 24 * HOUR; now += HOUR)
      expect(oldestQuotaDay(now)).toBeLessThan(quotaDay(now, hour));
});
