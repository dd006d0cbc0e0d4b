import { msUntilReset } from '../budget.ts';
import type { UpstreamError } from '../errors.ts';

/** Whether messages of one app and channel are let through. Times are wall-clock milliseconds since 1970. */
export type Gate =
  | { readonly kind: 'open' }
  /** Shut by `failure` from `since` to `until`; at its end it opens, or lets a single message through to see. */
  | {
      readonly kind: 'shut';
      readonly since: number;
      readonly until: number;
      readonly atEnd: 'open' | 'probe';
      readonly failure: UpstreamError;
    }
  /** One message is on its way to see whether `failure` has ended. */
  | { readonly kind: 'probing'; readonly failure: UpstreamError };

/** What a gate says to a message. */
export type Passage =
  | { readonly kind: 'pass' }
  | { readonly kind: 'probe' }
  | { readonly kind: 'refused'; readonly failure: UpstreamError; readonly retryAfterMs: number };

/** The gate of a channel of which nothing bad is known. */
export const OPEN: Gate = { kind: 'open' };

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
export function passage(gate: Gate, wallNow: number): Passage {
  switch (gate.kind) {
    case 'open':
      return { kind: 'pass' };
    case 'probing':
      return { kind: 'refused', failure: gate.failure, retryAfterMs: PROBING_MS };
    case 'shut': {
      const { since, until, failure } = gate;
      if (since <= wallNow && wallNow < until) return { kind: 'refused', failure, retryAfterMs: until - wallNow };
      return { kind: gate.atEnd === 'open' ? 'pass' : 'probe' };
    }
  }
}

/**
 * The gate after an attempt that began at `startedAt` failed. A spent quota shuts it until the quota resets, also when the
 * answer came after that, but for no longer than `ASK_AGAIN_MS`; a closed account or interface for 5 minutes. The longest of
 * several counts.
 */
export function afterFailure(
  gate: Gate,
  failure: UpstreamError,
  time: { readonly startedAt: number; readonly wallNow: number; readonly quotaResetHour: number },
): Gate {
  const shut = shutBy(failure, time);
  if (!shut || shut.until <= time.wallNow) return gate;
  return gate.kind === 'shut' && gate.since <= time.wallNow && gate.until > shut.until ? gate : shut;
}

function shutBy(
  failure: UpstreamError,
  { startedAt, wallNow, quotaResetHour }: { startedAt: number; wallNow: number; quotaResetHour: number },
): Extract<Gate, { kind: 'shut' }> | undefined {
  const shut = { kind: 'shut', since: wallNow, failure } as const;
  switch (failure.reason) {
    case 'DAILY_QUOTA_EXHAUSTED': {
      const reset = startedAt + msUntilReset(startedAt - DAY_MARGIN_MS, quotaResetHour);
      const again = wallNow + ASK_AGAIN_MS;
      return reset <= again ? { ...shut, until: reset, atEnd: 'open' } : { ...shut, until: again, atEnd: 'probe' };
    }
    case 'MINUTE_QUOTA_EXHAUSTED': {
      const intoMinute = (startedAt - MINUTE_MARGIN_MS) % MINUTE_MS;
      return { ...shut, until: startedAt + MINUTE_MS - intoMinute, atEnd: 'open' };
    }
    case 'ACCOUNT_CLOSED':
    case 'INTERFACE_NOT_GRANTED':
      return { ...shut, until: wallNow + BREAK_MS, atEnd: 'probe' };
    default:
      return undefined;
  }
}

/** The gate when somebody has seen to it that it may be open: the next message probes. */
export function afterMending(gate: Gate, wallNow: number): Gate {
  return gate.kind === 'shut' ? { ...gate, since: wallNow, until: wallNow, atEnd: 'probe' } : gate;
}

/**
 * The gate after the probing message ended. `judged`: WeChat took it, or refused it for what it is, and so the channel
 * works. Otherwise the next message probes.
 */
export function afterProbe(gate: Gate, judged: boolean, wallNow: number): Gate {
  if (gate.kind !== 'probing') return gate;
  return judged ? OPEN : { kind: 'shut', since: wallNow, until: wallNow, atEnd: 'probe', failure: gate.failure };
}
