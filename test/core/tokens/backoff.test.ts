import { expect, it } from 'vitest';
import type { Recovery } from '../../../src/core/kernel/errors.ts';
import { nextAttemptAt } from '../../../src/core/tokens/backoff.ts';
import { NOW, refusal, upstreamError, WALL } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** The failed attempt took 400 ms. */
const STARTED = NOW - 400;
const attempt = (draw: number, more: object = {}) => ({
  now: NOW,
  startedAt: STARTED,
  failures: 1,
  random: () => draw,
  wallNow: WALL,
  quotaResetHour: 0,
  ...more,
});

it.each<[string, Recovery, object, least: number, most: number]>([
  ['a failure, from the start of the attempt', { kind: 'backoff' }, { failures: 3 }, NOW + 1_000, STARTED + 8_000],
  ['many failures', { kind: 'backoff' }, { failures: 50 }, STARTED + 15_500, STARTED + 19_000],
  [
    'never at once, however long the attempt took',
    { kind: 'backoff' },
    { startedAt: NOW - MINUTE },
    NOW + 1_000,
    NOW + 1_000,
  ],
  ['a pause, from the start of the attempt', { kind: 'pause', ms: MINUTE }, {}, STARTED + MINUTE, STARTED + MINUTE],
  ['a pause of nothing', { kind: 'pause', ms: 0 }, {}, NOW + 1_000, NOW + 1_000],
  ['what fails for ever', { kind: 'never' }, {}, Infinity, Infinity],
  ['a quota of the minute, whole', { kind: 'minute_quota' }, {}, NOW + MINUTE, NOW + MINUTE + 5_000],
  ['one that is nearly over', { kind: 'minute_quota' }, { wallNow: WALL - 2_000 }, NOW + 2_000, NOW + 7_000],
  ['one that is over in a moment', { kind: 'minute_quota' }, { wallNow: WALL - 10 }, NOW + 1_000, NOW + 5_010],
  [
    'a quota of the day, which an operator may clear',
    { kind: 'daily_quota' },
    { startedAt: NOW - MINUTE },
    NOW + 12 * MINUTE,
    NOW + 15 * MINUTE,
  ],
  [
    'one that resets sooner',
    { kind: 'daily_quota' },
    { wallNow: WALL + 12 * HOUR - MINUTE },
    NOW + MINUTE,
    NOW + MINUTE,
  ],
  [
    'one that resets at another hour',
    { kind: 'daily_quota' },
    { quotaResetHour: 12, wallNow: WALL - MINUTE },
    NOW + MINUTE,
    NOW + MINUTE,
  ],
  [
    'one that resets in a moment',
    { kind: 'daily_quota' },
    { wallNow: WALL + 12 * HOUR - 10 },
    NOW + 1_000,
    NOW + 1_000,
  ],
])('tries again after %s', (_, recovery, more, least, most) => {
  expect(nextAttemptAt(upstreamError(recovery), attempt(0, more))).toBe(least);
  expect(nextAttemptAt(upstreamError(recovery), attempt(1, more))).toBe(most);
});

it.each([
  ['when it says', 40 * SECOND, NOW + 40 * SECOND],
  ['never at once', 10, NOW + SECOND],
  ['after a second where it does not say', undefined, NOW + SECOND],
])('tries again what Lingpai itself refused %s', (_, retryAfterMs, expected) => {
  expect(nextAttemptAt(refusal(retryAfterMs), attempt(0.5, { startedAt: NOW - HOUR }))).toBe(expected);
});
