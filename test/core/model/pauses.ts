import { type LingpaiError, UpstreamError } from '../../../src/core/errors.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** The longest that a failure may keep the broker from asking again, beyond 20 s: a planned pause counts up to a day. */
export function longestPauseMs(error: UpstreamError | LingpaiError, plannedMs: number): number {
  if (!(error instanceof UpstreamError)) return Math.min(plannedMs, 24 * HOUR);
  const { recovery } = error;
  switch (recovery.kind) {
    case 'backoff':
      return 0;
    case 'pause':
      return recovery.ms;
    case 'minute_quota':
      return 65 * SECOND;
    case 'daily_quota':
      return 24 * HOUR + MINUTE;
  }
}
