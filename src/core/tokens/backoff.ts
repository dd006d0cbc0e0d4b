import { backoffMs, FIRST_BACKOFF_MS } from '../kernel/backoff.ts';
import type { Random } from '../kernel/clock.ts';
import { LingpaiError, type Recovery, type UpstreamError } from '../kernel/errors.ts';
import { msUntilReset } from './budget.ts';

/** A daily quota that is spent may be cleared by an operator at any time, and then works at once: it is tried so often. */
const QUOTA_FLOOR_MS = 12 * 60_000;
const QUOTA_CEILING_MS = 15 * 60_000;

/** A minute on WeChat's clock, plus the most by which ours may differ. */
const MINUTE_MS = 60_000;

/** When to try again after a failure, in elapsed milliseconds: never at once, whatever the error says. */
export function nextAttemptAt(
  error: UpstreamError | LingpaiError,
  attempt: {
    now: number;
    startedAt: number;
    failures: number;
    random: Random;
    wallNow: number;
    quotaResetHour: number;
  },
): number {
  const { now, startedAt, failures, random, wallNow, quotaResetHour } = attempt;
  if (error instanceof LingpaiError) return now + Math.max(FIRST_BACKOFF_MS, error.retryAfterMs ?? 0);
  const delayMs = retryDelayMs(error.recovery, failures, random, wallNow, quotaResetHour);
  // Quotas reset by WeChat's clock, however long the attempt took.
  const isQuota = error.recovery.kind === 'daily_quota' || error.recovery.kind === 'minute_quota';
  return Math.max(now + FIRST_BACKOFF_MS, (isQuota ? now : startedAt) + delayMs);
}

/** The time from the start of a failed attempt to the start of the next, by what its error says of recovery. */
function retryDelayMs(
  recovery: Recovery,
  failures: number,
  random: Random,
  wallNow: number,
  quotaResetHour: number,
): number {
  switch (recovery.kind) {
    case 'backoff':
      return backoffMs(failures, random);
    case 'pause':
      return recovery.ms;
    case 'never':
      return Number.POSITIVE_INFINITY;
    case 'minute_quota':
      return MINUTE_MS - (wallNow % MINUTE_MS) + random() * 5_000;
    case 'daily_quota':
      return Math.min(
        QUOTA_FLOOR_MS + random() * (QUOTA_CEILING_MS - QUOTA_FLOOR_MS),
        msUntilReset(wallNow, quotaResetHour),
      );
  }
}
