import type { UpstreamError } from '../kernel/errors.ts';
import { QUOTA_ASK_AGAIN_MS, quotaResetAt } from '../kernel/quota-day.ts';

/** Whether messages of one app and channel pass. Times are wall-clock milliseconds since 1970. */
export type CircuitBreaker =
  | { readonly kind: 'closed' }
  /** `failure` opened it: messages are refused from `since` to `until`. Then it closes, or a single message probes. */
  | {
      readonly kind: 'open';
      readonly since: number;
      readonly until: number;
      readonly atEnd: 'closed' | 'probe';
      readonly failure: UpstreamError;
    }
  /** One message is on its way as a probe: it shows whether `failure` has ended. */
  | { readonly kind: 'half_open'; readonly failure: UpstreamError };

/** What a circuit breaker says to a message. */
export type Passage =
  | { readonly kind: 'pass' }
  | { readonly kind: 'probe' }
  | { readonly kind: 'refused'; readonly failure: UpstreamError; readonly retryAfterMs: number };

/** The circuit breaker of a channel of which nothing bad is known. */
export const CLOSED: CircuitBreaker = { kind: 'closed' };

/** How long a closed account or interface is left alone. */
const BREAK_MS = 5 * 60_000;
/** When to look again while one message probes. */
const HALF_OPEN_RETRY_MS = 1_000;

/** Whether a message may pass. One that was opened in the future, by a clock that was set back since, is at its end. */
export function passage(breaker: CircuitBreaker, wallNow: number): Passage {
  switch (breaker.kind) {
    case 'closed':
      return { kind: 'pass' };
    case 'half_open':
      return { kind: 'refused', failure: breaker.failure, retryAfterMs: HALF_OPEN_RETRY_MS };
    case 'open': {
      const { since, until, failure } = breaker;
      if (since <= wallNow && wallNow < until) return { kind: 'refused', failure, retryAfterMs: until - wallNow };
      return { kind: breaker.atEnd === 'closed' ? 'pass' : 'probe' };
    }
  }
}

/**
 * The circuit breaker after an attempt that began at `startedAt` failed. A spent quota opens it until the quota resets, a daily
 * one for no longer than `QUOTA_ASK_AGAIN_MS`; a closed account or interface opens it for 5 minutes. The longest of several
 * counts.
 */
export function afterFailure(
  breaker: CircuitBreaker,
  failure: UpstreamError,
  time: { readonly startedAt: number; readonly wallNow: number; readonly quotaResetHour: number },
): CircuitBreaker {
  const opened = openedBy(failure, time);
  if (!opened || opened.until <= time.wallNow) return breaker;
  return breaker.kind === 'open' && breaker.since <= time.wallNow && breaker.until > opened.until ? breaker : opened;
}

function openedBy(
  failure: UpstreamError,
  { startedAt, wallNow, quotaResetHour }: { startedAt: number; wallNow: number; quotaResetHour: number },
): Extract<CircuitBreaker, { kind: 'open' }> | undefined {
  const opened = { kind: 'open', since: wallNow, failure } as const;
  switch (failure.reason) {
    case 'DAILY_QUOTA_EXHAUSTED': {
      const until = quotaResetAt('daily_quota', startedAt, quotaResetHour);
      const again = wallNow + QUOTA_ASK_AGAIN_MS;
      return until <= again ? { ...opened, until, atEnd: 'closed' } : { ...opened, until: again, atEnd: 'probe' };
    }
    case 'MINUTE_QUOTA_EXHAUSTED':
      return { ...opened, until: quotaResetAt('minute_quota', startedAt, quotaResetHour), atEnd: 'closed' };
    case 'ACCOUNT_CLOSED':
    case 'INTERFACE_NOT_GRANTED':
      return { ...opened, until: wallNow + BREAK_MS, atEnd: 'probe' };
    default:
      return undefined;
  }
}

/** The circuit breaker when somebody may have mended what opened it: the next message probes. */
export function afterMending(breaker: CircuitBreaker, wallNow: number): CircuitBreaker {
  return breaker.kind === 'open' ? { ...breaker, since: wallNow, until: wallNow, atEnd: 'probe' } : breaker;
}

/**
 * The circuit breaker after a probe ended. `judged`: WeChat took the message, or refused it for what it is, and so the channel
 * works. Otherwise the next message probes.
 */
export function afterProbe(breaker: CircuitBreaker, judged: boolean, wallNow: number): CircuitBreaker {
  if (breaker.kind !== 'half_open') return breaker;
  return judged ? CLOSED : { kind: 'open', since: wallNow, until: wallNow, atEnd: 'probe', failure: breaker.failure };
}
