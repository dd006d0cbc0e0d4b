import type { Random } from '../kernel/clock.ts';
import { LingpaiError, type Recovery, type UpstreamError } from '../kernel/errors.ts';
import { msUntilReset } from './budget.ts';

const FIRST_MS = 1_000;
/**
 * A lasting outage is asked about every 15.5 to 19 s: at most 240 calls an hour, and never more than 20 s late when it
 * ends. Jitter over the whole of 1 to 30 s, the usual choice, keeps neither bound.
 */
const LASTING_FLOOR_MS = 15_500;
const LASTING_CEILING_MS = 19_000;
const LASTING_AFTER = 5;

/** The time from the start of the `failures`-th failed attempt in a row (1 or more) to the start of the next. */
export function backoffMs(failures: number, random: Random): number {
  const floor = failures < LASTING_AFTER ? FIRST_MS : LASTING_FLOOR_MS;
  const ceiling = Math.min(FIRST_MS * 2 ** failures, LASTING_CEILING_MS);
  return floor + random() * (ceiling - floor);
}

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
  if (error instanceof LingpaiError) return now + Math.max(FIRST_MS, error.retryAfterMs ?? 0);
  const delayMs = retryDelayMs(error.recovery, failures, random, wallNow, quotaResetHour);
  // Quotas reset by WeChat's clock, however long the attempt took.
  const isQuota = error.recovery.kind === 'daily_quota' || error.recovery.kind === 'minute_quota';
  return Math.max(now + FIRST_MS, (isQuota ? now : startedAt) + delayMs);
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
