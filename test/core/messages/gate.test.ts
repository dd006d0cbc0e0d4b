import { describe, expect, it } from 'vitest';
import { afterFailure, afterMending, afterProbe, type Gate, OPEN, passage } from '../../../src/core/messages/gate.ts';
import { upstreamError } from '../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Noon in Shanghai. */
const NOON = Date.UTC(2026, 0, 15, 4, 0, 0);
const MIDNIGHT = NOON + 12 * HOUR;
const failure = upstreamError(45009);

const shut = (sinceMs: number, untilMs: number, atEnd: 'open' | 'probe'): Gate => ({
  kind: 'shut',
  since: NOON + sinceMs,
  until: NOON + untilMs,
  atEnd,
  failure,
});

describe('passage', () => {
  it.each([
    ['an open gate', OPEN, { kind: 'pass' }],
    ['one that is shut', shut(-1, 500, 'open'), { kind: 'refused', retryAfterMs: 500 }],
    ['one that shuts now', shut(0, 500, 'open'), { kind: 'refused', retryAfterMs: 500 }],
    ['one at its end', shut(-1, 0, 'open'), { kind: 'pass' }],
    ['a broken one', shut(-1, 500, 'probe'), { kind: 'refused', retryAfterMs: 500 }],
    ['a broken one at its end', shut(-1, 0, 'probe'), { kind: 'probe' }],
    ['one that was shut by a clock that was ahead', shut(1, 500, 'open'), { kind: 'pass' }],
    ['a broken one, by a clock that was ahead', shut(1, 500, 'probe'), { kind: 'probe' }],
    ['one that is being probed', { kind: 'probing', failure } as Gate, { kind: 'refused', retryAfterMs: SECOND }],
  ] as const)('%s', (_, gate, expected) => {
    expect(passage(gate, NOON)).toMatchObject(expected);
  });
});

describe('a failure', () => {
  const gateAfter = (
    errcode: number,
    options: { gate?: Gate; startedAt?: number; wallNow?: number; hour?: number } = {},
  ) => {
    const { gate = OPEN, startedAt = NOON, wallNow = startedAt, hour = 0 } = options;
    return afterFailure(gate, upstreamError(errcode), { startedAt, wallNow, quotaResetHour: hour });
  };

  it.each([-1, 40001, 40003, 40037, 41028, 41029, 43101, 43117, 45103, 47003, 61004])('%i shuts nothing', (errcode) => {
    expect(gateAfter(errcode)).toBe(OPEN);
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
      'open',
    ],
    [
      'the daily quota, which resets at 2',
      45009,
      { startedAt: MIDNIGHT + 115 * MINUTE, hour: 2 },
      MIDNIGHT + 121 * MINUTE,
      'open',
    ],
    ['just before the reset', 45009, { startedAt: MIDNIGHT - 1 }, MIDNIGHT + MINUTE, 'open'],
    [
      'just after it, by a WeChat that is behind',
      45009,
      { startedAt: MIDNIGHT + 30 * SECOND },
      MIDNIGHT + MINUTE,
      'open',
    ],
    ['a minute after it', 45009, { startedAt: MIDNIGHT + MINUTE }, MIDNIGHT + 16 * MINUTE, 'probe'],
    ['the minute quota', 45011, { startedAt: NOON + 20 * SECOND }, NOON + 62 * SECOND, 'open'],
    ['the minute quota, just after the minute', 45011, { startedAt: NOON + SECOND }, NOON + 2 * SECOND, 'open'],
    ['a closed account', 50002, {}, NOON + 5 * MINUTE, 'probe'],
    ['a closed interface', 48001, {}, NOON + 5 * MINUTE, 'probe'],
  ] as const)('%s', (_, errcode, options, until, atEnd) => {
    expect(gateAfter(errcode, options)).toMatchObject({ kind: 'shut', until, atEnd });
  });

  it('that is told after the quota has reset shuts nothing', () => {
    expect(gateAfter(45009, { startedAt: MIDNIGHT - SECOND, wallNow: MIDNIGHT + 2 * MINUTE })).toBe(OPEN);
  });

  it('does not shorten what is shut for longer, unless the clock was set back since', () => {
    const long = shut(0, HOUR, 'open');
    expect(gateAfter(45011, { gate: long })).toBe(long);
    expect(gateAfter(45011, { gate: shut(1, HOUR, 'open') })).toMatchObject({ until: NOON + 2 * SECOND });
    expect(gateAfter(45009, { gate: shut(0, MINUTE, 'probe') })).toMatchObject({ until: NOON + 15 * MINUTE });
  });
});

describe('after somebody mended it', () => {
  it.each([
    ['the next message probes', shut(-HOUR, HOUR, 'open'), { kind: 'probe' }],
    ['an open one is open', OPEN, { kind: 'pass' }],
    ['one that is being probed goes on', { kind: 'probing', failure } as Gate, { kind: 'refused' }],
  ] as const)('%s', (_, gate, expected) => {
    expect(passage(afterMending(gate, NOON), NOON)).toMatchObject(expected);
  });
});

describe('after a probe', () => {
  const probing: Gate = { kind: 'probing', failure };

  it.each([
    ['the channel is open when WeChat has judged the message', probing, true, { kind: 'pass' }],
    ['the next message probes when it has not', probing, false, { kind: 'probe' }],
    ['what was shut by it stays shut', shut(0, 500, 'probe'), false, { kind: 'refused' }],
  ] as const)('%s', (_, gate, judged, expected) => {
    expect(passage(afterProbe(gate, judged, NOON), NOON)).toMatchObject(expected);
  });
});
