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

const shut = (sinceMs: number, untilMs: number, atEnd: 'closed' | 'probe'): CircuitBreaker => ({
  kind: 'open',
  since: NOON + sinceMs,
  until: NOON + untilMs,
  atEnd,
  failure,
});

describe('passage', () => {
  it.each([
    ['an open gate', CLOSED, { kind: 'pass' }],
    ['one that is shut', shut(-1, 500, 'closed'), { kind: 'refused', retryAfterMs: 500 }],
    ['one that shuts now', shut(0, 500, 'closed'), { kind: 'refused', retryAfterMs: 500 }],
    ['one at its end', shut(-1, 0, 'closed'), { kind: 'pass' }],
    ['a broken one', shut(-1, 500, 'probe'), { kind: 'refused', retryAfterMs: 500 }],
    ['a broken one at its end', shut(-1, 0, 'probe'), { kind: 'probe' }],
    ['one that was shut by a clock that was ahead', shut(1, 500, 'closed'), { kind: 'pass' }],
    ['a broken one, by a clock that was ahead', shut(1, 500, 'probe'), { kind: 'probe' }],
    [
      'one that is being probed',
      { kind: 'half_open', failure } as CircuitBreaker,
      { kind: 'refused', retryAfterMs: SECOND },
    ],
  ] as const)('%s', (_, breaker, expected) => {
    expect(passage(breaker, NOON)).toMatchObject(expected);
  });
});

describe('a failure', () => {
  const gateAfter = (
    errcode: number,
    options: { breaker?: CircuitBreaker; startedAt?: number; wallNow?: number; hour?: number } = {},
  ) => {
    const { breaker = CLOSED, startedAt = NOON, wallNow = startedAt, hour = 0 } = options;
    return afterFailure(breaker, upstreamError(errcode), { startedAt, wallNow, quotaResetHour: hour });
  };

  it.each([-1, 40001, 40003, 40037, 41028, 41029, 43101, 43117, 45103, 47003, 61004])('%i shuts nothing', (errcode) => {
    expect(gateAfter(errcode)).toBe(CLOSED);
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
    expect(gateAfter(errcode, options)).toMatchObject({ kind: 'open', until, atEnd });
  });

  it('that is told after the quota has reset shuts nothing', () => {
    expect(gateAfter(45009, { startedAt: MIDNIGHT - SECOND, wallNow: MIDNIGHT + 2 * MINUTE })).toBe(CLOSED);
  });

  it('does not shorten what is shut for longer, unless the clock was set back since', () => {
    const long = shut(0, HOUR, 'closed');
    expect(gateAfter(45011, { breaker: long })).toBe(long);
    expect(gateAfter(45011, { breaker: shut(1, HOUR, 'closed') })).toMatchObject({ until: NOON + 2 * SECOND });
    expect(gateAfter(45009, { breaker: shut(0, MINUTE, 'probe') })).toMatchObject({ until: NOON + 15 * MINUTE });
  });
});

describe('after somebody mended it', () => {
  it.each([
    ['the next message probes', shut(-HOUR, HOUR, 'closed'), { kind: 'probe' }],
    ['an open one is open', CLOSED, { kind: 'pass' }],
    ['one that is being probed goes on', { kind: 'half_open', failure } as CircuitBreaker, { kind: 'refused' }],
  ] as const)('%s', (_, breaker, expected) => {
    expect(passage(afterMending(breaker, NOON), NOON)).toMatchObject(expected);
  });
});

describe('after a probe', () => {
  const probing: CircuitBreaker = { kind: 'half_open', failure };

  it.each([
    ['the channel is open when WeChat has judged the message', probing, true, { kind: 'pass' }],
    ['the next message probes when it has not', probing, false, { kind: 'probe' }],
    ['what was shut by it stays shut', shut(0, 500, 'probe'), false, { kind: 'refused' }],
  ] as const)('%s', (_, breaker, judged, expected) => {
    expect(passage(afterProbe(breaker, judged, NOON), NOON)).toMatchObject(expected);
  });
});
