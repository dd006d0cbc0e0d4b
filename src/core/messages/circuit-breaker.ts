import type { UpstreamError } from '../kernel/errors.ts';
import { msUntilReset } from '../tokens/budget.ts';

/** Whether messages of one app and channel are let through. Times are wall-clock milliseconds since 1970. */
export type CircuitBreaker =
  | { readonly kind: 'closed' }
  /** Shut by `failure` from `since` to `until`; at its end it opens, or lets a single message through to see. */
  | {
      readonly kind: 'open';
      readonly since: number;
      readonly until: number;
      readonly atEnd: 'closed' | 'probe';
      readonly failure: UpstreamError;
    }
  /** One message is on its way to see whether `failure` has ended. */
  | { readonly kind: 'half_open'; readonly failure: UpstreamError };

/** What a gate says to a message. */
export type Passage =
  | { readonly kind: 'pass' }
  | { readonly kind: 'probe' }
  | { readonly kind: 'refused'; readonly failure: UpstreamError; readonly retryAfterMs: number };

/** The gate of a channel of which nothing bad is known. */
export const CLOSED: CircuitBreaker = { kind: 'closed' };

const MINUTE_MS = 60_000;
/** A spent quota is asked for again after this long: operators clear quotas. */
export const ASK_AGAIN_MS = 15 * MINUTE_MS;
/** How long a closed account or interface is left alone. */
const BREAK_MS = 5 * MINUTE_MS;
/** By how much our clock may be ahead of WeChat's, so that a quota is not asked for before it resets. */
const DAY_MARGIN_MS = MINUTE_MS;
const MINUTE_MARGIN_MS = 2_000;
/** When to look again while one message probes. */
const PROBING_MS = 1_000;

/** Whether a message may pass. A gate that was shut in the future, by a clock that was set back since, is at its end. */
export function passage(breaker: CircuitBreaker, wallNow: number): Passage {
  switch (breaker.kind) {
    case 'closed':
      return { kind: 'pass' };
    case 'half_open':
      return { kind: 'refused', failure: breaker.failure, retryAfterMs: PROBING_MS };
    case 'open': {
      const { since, until, failure } = breaker;
      if (since <= wallNow && wallNow < until) return { kind: 'refused', failure, retryAfterMs: until - wallNow };
      return { kind: breaker.atEnd === 'closed' ? 'pass' : 'probe' };
    }
  }
}

/**
 * The gate after an attempt that began at `startedAt` failed. A spent quota shuts it until the quota resets, also when the
 * answer came after that, but for no longer than `ASK_AGAIN_MS`; a closed account or interface for 5 minutes. The longest of
 * several counts.
 */
export function afterFailure(
  breaker: CircuitBreaker,
  failure: UpstreamError,
  time: { readonly startedAt: number; readonly wallNow: number; readonly quotaResetHour: number },
): CircuitBreaker {
  const shut = shutBy(failure, time);
  if (!shut || shut.until <= time.wallNow) return breaker;
  return breaker.kind === 'open' && breaker.since <= time.wallNow && breaker.until > shut.until ? breaker : shut;
}

function shutBy(
  failure: UpstreamError,
  { startedAt, wallNow, quotaResetHour }: { startedAt: number; wallNow: number; quotaResetHour: number },
): Extract<CircuitBreaker, { kind: 'open' }> | undefined {
  const shut = { kind: 'open', since: wallNow, failure } as const;
  switch (failure.reason) {
    case 'DAILY_QUOTA_EXHAUSTED': {
      const reset = startedAt + msUntilReset(startedAt - DAY_MARGIN_MS, quotaResetHour);
      const again = wallNow + ASK_AGAIN_MS;
      return reset <= again ? { ...shut, until: reset, atEnd: 'closed' } : { ...shut, until: again, atEnd: 'probe' };
    }
    case 'MINUTE_QUOTA_EXHAUSTED': {
      const intoMinute = (startedAt - MINUTE_MARGIN_MS) % MINUTE_MS;
      return { ...shut, until: startedAt + MINUTE_MS - intoMinute, atEnd: 'closed' };
    }
    case 'ACCOUNT_CLOSED':
    case 'INTERFACE_NOT_GRANTED':
      return { ...shut, until: wallNow + BREAK_MS, atEnd: 'probe' };
    default:
      return undefined;
  }
}

/** The gate when somebody has seen to it that it may be open: the next message probes. */
export function afterMending(breaker: CircuitBreaker, wallNow: number): CircuitBreaker {
  return breaker.kind === 'open' ? { ...breaker, since: wallNow, until: wallNow, atEnd: 'probe' } : breaker;
}

/**
 * The gate after the probing message ended. `judged`: WeChat took it, or refused it for what it is, and so the channel
 * works. Otherwise the next message probes.
 */
export function afterProbe(breaker: CircuitBreaker, judged: boolean, wallNow: number): CircuitBreaker {
  if (breaker.kind !== 'half_open') return breaker;
  return judged ? CLOSED : { kind: 'open', since: wallNow, until: wallNow, atEnd: 'probe', failure: breaker.failure };
}
