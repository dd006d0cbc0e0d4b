import type { Intent } from '../tokens/ports.ts';

/** The share of the overlap after which all is settled: 200 s of 5 minutes, and so with a minute and a half to spare. */
const SETTLED_AFTER = 2 / 3;

/**
 * How long after a mint whose order is not known the confirming one is made, unless all is known sooner: inside the overlap,
 * during which WeChat honours both. An intent that is older overlaps nothing any more: should its request still arrive, its
 * replica says so, or the canary notices.
 */
export function settledMs(overlapMs: number): number {
  return overlapMs * SETTLED_AFTER;
}

/** The clocks of two replicas differ by a little: a mint that is due when all is settled is not to come a moment before. */
const NEARLY = 0.995;

/** Whether a mint overlaps nothing any more. A clock that was set may make it look younger than it can be. */
export function isSettled(intent: Intent, time: number, overlapMs: number): boolean {
  return Math.abs(time - intent.time) >= settledMs(overlapMs) * NEARLY;
}
