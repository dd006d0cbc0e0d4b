import type { Random } from './clock.ts';

/** The shortest pause before anything that failed is tried again. */
export const FIRST_BACKOFF_MS = 1_000;
/**
 * A lasting outage is asked about every 15.5 to 19 s: at most 240 calls an hour, and never more than 20 s late when it
 * ends. Jitter over the whole of 1 to 30 s, the usual choice, keeps neither bound.
 */
const LASTING_FLOOR_MS = 15_500;
const LASTING_CEILING_MS = 19_000;
const LASTING_AFTER = 5;

/** The time from the start of the `failures`-th failed attempt in a row (1 or more) to the start of the next. */
export function backoffMs(failures: number, random: Random): number {
  const floor = failures < LASTING_AFTER ? FIRST_BACKOFF_MS : LASTING_FLOOR_MS;
  const ceiling = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LASTING_CEILING_MS);
  return floor + random() * (ceiling - floor);
}
