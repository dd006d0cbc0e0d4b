import type { Intent } from '../tokens/ports.ts';

/** The window's share of the overlap: 200 s of 5 minutes, which leaves a minute and a half for the confirming mint. */
const WINDOW_SHARE = 2 / 3;

/**
 * For how long a mint may overlap another. At the end of the window the confirming mint is due, unless all is known sooner: still
 * inside the overlap, during which WeChat honours both tokens. An intent that is older overlaps nothing any more. Should its
 * request still arrive, its replica says so, or a probe notices.
 */
export function mintWindowMs(overlapMs: number): number {
  return overlapMs * WINDOW_SHARE;
}

/** The clocks of two replicas differ by a little: a mint that is due at the end of the window must not come just before it. */
const NEARLY = 0.995;

/** Whether a mint overlaps nothing any more. A clock that was set may date it in the future. */
export function isPastWindow(intent: Intent, time: number, overlapMs: number): boolean {
  return Math.abs(time - intent.time) >= mintWindowMs(overlapMs) * NEARLY;
}
