import { LingpaiError, type Recovery, UpstreamError } from '../../src/core/kernel/errors.ts';
import type { Moment } from '../../src/core/kernel/timeline.ts';
import { type AppRecord, type CurrentToken, emptyRecord } from '../../src/core/tokens/app-record.ts';
import type { Issued } from '../../src/core/tokens/issuing.ts';
import { HOUR } from './world.ts';

// What tables of decisions are made of: one moment, and an app at it.

/** The moment, in elapsed time and on the wall clock: noon in Shanghai. */
export const NOW = 10 * HOUR;
export const WALL = 1_768_449_600_000;
export const MOMENT: Moment = { elapsed: NOW, wall: WALL, offset: WALL - NOW, leaptMs: 0 };
/** WeChat's day of it. */
export const DAY = Math.floor((WALL + 8 * HOUR) / (24 * HOUR));

/** A token that was asked for so long ago. */
export function token(value: string, ageMs: number, lifeMs = 2 * HOUR): CurrentToken {
  const issuedAt = NOW - ageMs;
  const expiresAt = issuedAt + lifeMs;
  return { value, id: value, issuedAt, expiresAt, answeredAt: issuedAt + 50, dueAt: issuedAt + lifeMs / 2 };
}

/** What WeChat answered a moment ago. */
export function issued(value: string, more: Partial<Issued> = {}): Issued {
  const sentAt = NOW - 100;
  const times = { sentAt, answeredAt: NOW, mintedAt: sentAt };
  return { value, id: value, lifetimeMs: 2 * HOUR, ...times, intent: undefined, ...more };
}

/** A classic app with the token "a", an hour old, in generation 7. */
export const HELD: AppRecord = {
  ...emptyRecord('classic'),
  generation: 7,
  current: token('a', HOUR),
  budget: { day: DAY, mints: 3, forced: 0 },
};

/** A failed call after which this is to be done. */
export function upstreamError(recovery: Recovery, message = 'WeChat is ill'): UpstreamError {
  return new UpstreamError(message, { reason: 'UPSTREAM_ERROR', recovery, effect: 'refused' });
}

/** A mint that Lingpai did not allow. */
export function refusal(retryAfterMs?: number): LingpaiError {
  return new LingpaiError('not now', { reason: 'BUDGET_EXHAUSTED', retryAfterMs });
}
