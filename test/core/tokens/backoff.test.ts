import { expect, it } from 'vitest';
import { LingpaiError, type Recovery, UpstreamError } from '../../../src/core/kernel/errors.ts';
import { nextAttemptAt } from '../../../src/core/tokens/backoff.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Noon in Shanghai. */
const NOON = Date.UTC(2026, 0, 15, 4, 0, 0);
const MIDNIGHT = NOON + 12 * HOUR;

const failed = (recovery: Recovery) =>
  new UpstreamError('no', { reason: 'UPSTREAM_ERROR', recovery, effect: 'refused' });
const refused = (retryAfterMs?: number) => new LingpaiError('no', { reason: 'COOLDOWN', retryAfterMs });

/** The pause from the failure on, where the call took `tookMs` and failed at the wall time `wallNow`: the least, the most. */
function pauses(error: UpstreamError | LingpaiError, { tookMs = 0, failures = 1, wallNow = NOON } = {}): number[] {
  const now = 1_000_000;
  const attempt = { now, startedAt: now - tookMs, failures, wallNow, quotaResetHour: 0 };
  return [0, 1].map((draw) => nextAttemptAt(error, { ...attempt, random: () => draw }) - now).sort((a, b) => a - b);
}

it.each([
  ['the first failure', failed({ kind: 'backoff' }), {}, [SECOND, 2 * SECOND]],
  ['the fifth', failed({ kind: 'backoff' }), { failures: 5 }, [15.5 * SECOND, 19 * SECOND]],
  [
    'counted from when the call left',
    failed({ kind: 'backoff' }),
    { failures: 5, tookMs: 10 * SECOND },
    [5.5 * SECOND, 9 * SECOND],
  ],
  ['never at once', failed({ kind: 'backoff' }), { tookMs: 10 * SECOND }, [SECOND, SECOND]],
  ['a pause', failed({ kind: 'pause', ms: MINUTE }), {}, [MINUTE, MINUTE]],
  ['nothing helps', failed({ kind: 'never' }), {}, [Infinity, Infinity]],
  ['the minute', failed({ kind: 'minute_quota' }), { wallNow: NOON + 20 * SECOND }, [42 * SECOND, 45 * SECOND]],
  [
    'a minute that is over when the answer comes',
    failed({ kind: 'minute_quota' }),
    { wallNow: NOON + 5 * SECOND, tookMs: 10 * SECOND },
    [SECOND, SECOND],
  ],
  ['the day, which an operator may clear', failed({ kind: 'daily_quota' }), {}, [12 * MINUTE, 15 * MINUTE]],
  ['the day, at its end', failed({ kind: 'daily_quota' }), { wallNow: MIDNIGHT - MINUTE }, [2 * MINUTE, 2 * MINUTE]],
  [
    'the day, just after it',
    failed({ kind: 'daily_quota' }),
    { wallNow: MIDNIGHT + 30 * SECOND },
    [30 * SECOND, 30 * SECOND],
  ],
  ['a refusal of our own', refused(MINUTE), {}, [MINUTE, MINUTE]],
  ['one that says nothing', refused(), {}, [SECOND, SECOND]],
] as const)('%s', (_, error, options, expected) => {
  expect(pauses(error, options)).toEqual(expected);
});
