import { ISSUERS } from './issuers.ts';
import type { IssuerKind, Settings } from './ports.ts';

/** The span of a token's life, in elapsed milliseconds (see Timeline). */
export interface Life {
  /** Just before the request for it left. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** However short a token lives, WeChat is not asked for its successor sooner than this. */
const LEAST_PAUSE_MS = 1_000;

/**
 * When a token should be replaced, in elapsed milliseconds.
 *
 * Classic: at `classicAt` of its life, 10 % sooner or later. Stable: from `overlap` before its end, since WeChat shows
 * its successor only then. `draw` in [0, 1) spreads apps that were refreshed together; draw it once per generation, for
 * an answer that changes with each question is always due at its earliest.
 */
export function dueAt(life: Life, issuer: IssuerKind, settings: Settings, draw: number): number {
  const span = life.expiresAt - life.issuedAt;
  if (ISSUERS[issuer].successor === 'any_time') {
    return life.issuedAt + Math.max(LEAST_PAUSE_MS, span * settings.classicAt * (0.9 + 0.2 * draw));
  }
  const firstPoll =
    life.expiresAt - settings.overlapMs + draw * Math.min(settings.stablePollMs, settings.overlapMs / 4);
  return Math.max(firstPoll, life.issuedAt + pollPauseMs(span, settings));
}

/** The pause before a stable token is read again, when it lives `remainingMs` more and its successor has not come yet. */
function pollPauseMs(remainingMs: number, settings: Settings): number {
  return Math.max(LEAST_PAUSE_MS, Math.min(settings.stablePollMs, remainingMs / 4));
}
