import type { RefreshCause } from '../core/tokens/events.ts';

/** A cause as logs and metrics have it: the broker's own probe is `canary` there, which alerts and dashboards name. */
export function causeLabel(cause: RefreshCause): string {
  return cause === 'probe' ? 'canary' : cause;
}
