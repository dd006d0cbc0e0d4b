import { describe, expect, it } from 'vitest';
import {
  afterFailure,
  afterMending,
  afterProbe,
  type CircuitBreaker,
  CLOSED,
  passage,
} from '../../../src/core/messages/circuit-breaker.ts';
import { upstreamError } from '../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Noon in Shanghai. */
const NOON = Date.UTC(2026, 0, 15, 4, 0, 0);
const MIDNIGHT = NOON + 12 * HOUR;
const failure = upstreamError(45009);

const opened = (sinceMs: number, untilMs: number, atEnd: 'closed' | 'probe'): CircuitBreaker => ({
  kind: 'open',
  since: NOON + sinceMs,
  until: NOON + untilMs,
  atEnd,
  failure,
});

describe('passage', () => {
  it.each([
    ['a closed one', CLOSED, { kind: 'pass' }],
    ['an open one', opened(-1, 500, 'closed'), { kind: 'refused', retryAfterMs: 500 }],
    ['one that opens now', opened(0, 500, 'closed'), { kind: 'refused', retryAfterMs: 500 }],
    ['an open one at its end', opened(-1, 0, 'closed'), { kind: 'pass' }],
    ['an open one that probes', opened(-1, 500, 'probe'), { kind: 'refused', retryAfterMs: 500 }],
    ['one that probes, at its end', opened(-1, 0, 'probe'), { kind: 'probe' }],
    ['one that was opened by a clock that was ahead', opened(1, 500, 'closed'), { kind: 'pass' }],
    ['one that probes, by a clock that was ahead', opened(1, 500, 'probe'), { kind: 'probe' }],
    ['a half open one', { kind: 'half_open', failure } as CircuitBreaker, { kind: 'refused', retryAfterMs: SECOND }],
  ] as const)('%s', (_, breaker, expected) => {
    expect(passage(breaker, NOON)).toMatchObject(expected);
  });
});

describe('a failure', () => {
  const breakerAfter = (
    errcode: number,
    options: { breaker?: CircuitBreaker; startedAt?: number; wallNow?: number; hour?: number } = {},
  ) => {
    const { breaker = CLOSED, startedAt = NOON, wallNow = startedAt, hour = 0 } = options;
    return afterFailure(breaker, upstreamError(errcode), { startedAt, wallNow, quotaResetHour: hour });
  };

  it.each([-1, 40001, 40003, 40037, 41028, 41029, 43101, 43117, 45103, 47003, 61004])('%i opens nothing', (errcode) => {
    expect(breakerAfter(errcode)).toBe(CLOSED);
  });

  it.each([
    ['the daily quota, for a quarter of an hour', 45009, {}, NOON + 15 * MINUTE, 'probe'],
    [
      'the daily quota, from when it was told of',
      45009,
      { startedAt: NOON - MINUTE, wallNow: NOON },
      NOON + 15 * MINUTE,
      'probe',
    ],
    [
      'the daily quota, until the reset and a minute',
      45009,
      { startedAt: MIDNIGHT - 14 * MINUTE },
      MIDNIGHT + MINUTE,
      'closed',
    ],
    [
      'the daily quota, which resets at 2',
      45009,
      { startedAt: MIDNIGHT + 115 * MINUTE, hour: 2 },
      MIDNIGHT + 121 * MINUTE,
      'closed',
    ],
    ['just before the reset', 45009, { startedAt: MIDNIGHT - 1 }, MIDNIGHT + MINUTE, 'closed'],
    [
      'just after it, by a WeChat that is behind',
      45009,
      { startedAt: MIDNIGHT + 30 * SECOND },
      MIDNIGHT + MINUTE,
      'closed',
    ],
    ['a minute after it', 45009, { startedAt: MIDNIGHT + MINUTE }, MIDNIGHT + 16 * MINUTE, 'probe'],
    ['the minute quota', 45011, { startedAt: NOON + 20 * SECOND }, NOON + 62 * SECOND, 'closed'],
    ['the minute quota, just after the minute', 45011, { startedAt: NOON + SECOND }, NOON + 2 * SECOND, 'closed'],
    ['a closed account', 50002, {}, NOON + 5 * MINUTE, 'probe'],
    ['a closed interface', 48001, {}, NOON + 5 * MINUTE, 'probe'],
  ] as const)('%s', (_, errcode, options, until, atEnd) => {
    expect(breakerAfter(errcode, options)).toMatchObject({ kind: 'open', until, atEnd });
  });

  it('that is told after the quota has reset opens nothing', () => {
    expect(breakerAfter(45009, { startedAt: MIDNIGHT - SECOND, wallNow: MIDNIGHT + 2 * MINUTE })).toBe(CLOSED);
  });

  it('does not shorten what is open for longer, unless the clock was set back since', () => {
    const long = opened(0, HOUR, 'closed');
    expect(breakerAfter(45011, { breaker: long })).toBe(long);
    expect(breakerAfter(45011, { breaker: opened(1, HOUR, 'closed') })).toMatchObject({ until: NOON + 2 * SECOND });
    expect(breakerAfter(45009, { breaker: opened(0, MINUTE, 'probe') })).toMatchObject({ until: NOON + 15 * MINUTE });
  });
});

describe('after somebody mended it', () => {
  it.each([
    ['the next message probes', opened(-HOUR, HOUR, 'closed'), { kind: 'probe' }],
    ['a closed one stays closed', CLOSED, { kind: 'pass' }],
    ['a half open one stays half open', { kind: 'half_open', failure } as CircuitBreaker, { kind: 'refused' }],
  ] as const)('%s', (_, breaker, expected) => {
    expect(passage(afterMending(breaker, NOON), NOON)).toMatchObject(expected);
  });
});

describe('after a probe', () => {
  const halfOpen: CircuitBreaker = { kind: 'half_open', failure };

  it.each([
    ['it closes when WeChat has judged the message', halfOpen, true, { kind: 'pass' }],
    ['the next message probes when it has not', halfOpen, false, { kind: 'probe' }],
    ['one that the probe opened stays open', opened(0, 500, 'probe'), false, { kind: 'refused' }],
  ] as const)('%s', (_, breaker, judged, expected) => {
    expect(passage(afterProbe(breaker, judged, NOON), NOON)).toMatchObject(expected);
  });
});
