import { backoffMs, FIRST_BACKOFF_MS } from '../kernel/backoff.ts';
import type { Random } from '../kernel/clock.ts';
import { LingpaiError, type UpstreamError } from '../kernel/errors.ts';
import { QUOTA_ASK_AGAIN_MS, quotaResetAt } from '../kernel/quota-day.ts';

/** Apps that met a spent quota together do not ask again together: they are spread over as long. */
const DAILY_SPREAD_MS = 3 * 60_000;
const MINUTE_SPREAD_MS = 3_000;

/** An attempt that failed. Times are elapsed milliseconds, `wallNow` is the wall clock's at `now`. */
export interface FailedAttempt {
  readonly now: number;
  readonly startedAt: number;
  /** In a row, this one included. */
  readonly failures: number;
  readonly random: Random;
  readonly wallNow: number;
  readonly quotaResetHour: number;
}

/** When to try again after a failure, in elapsed milliseconds: never at once, whatever the error says. */
export function nextAttemptAt(error: UpstreamError | LingpaiError, attempt: FailedAttempt): number {
  const { now } = attempt;
  const earliest = now + FIRST_BACKOFF_MS;
  if (error instanceof LingpaiError) return Math.max(earliest, now + (error.retryAfterMs ?? 0));
  return Math.max(earliest, recoversAt(error, attempt));
}

/** When a failed attempt may be repeated, by what its error says of recovery. */
function recoversAt({ recovery }: UpstreamError, attempt: FailedAttempt): number {
  const { now, startedAt, failures, random, wallNow, quotaResetHour } = attempt;
  switch (recovery.kind) {
    case 'backoff':
      return startedAt + backoffMs(failures, random);
    case 'pause':
      return startedAt + recovery.ms;
    case 'never':
      return Number.POSITIVE_INFINITY;
    case 'minute_quota':
    case 'daily_quota': {
      const startTime = wallNow - (now - startedAt);
      const resetAt = startedAt + quotaResetAt(recovery.kind, startTime, quotaResetHour) - startTime;
      return recovery.kind === 'minute_quota'
        ? resetAt + random() * MINUTE_SPREAD_MS
        : Math.min(resetAt, now + QUOTA_ASK_AGAIN_MS - random() * DAILY_SPREAD_MS);
    }
  }
}
