/**
 * How far a rate is used up: the monotonic time from which the next message is on time. Messages may be as early as their
 * burst allows, never earlier.
 */
export type RateLimiter = number;

/** The pace of one who has sent nothing yet. */
export const RESTED: RateLimiter = Number.NEGATIVE_INFINITY;

/** What may go at once: what the rate allows in this time, and at least one message. */
const BURST_MS = 100;

/** How long the next message must wait, in whole milliseconds. A rate of 0 is none. */
export function waitMs(limiter: RateLimiter, now: number, ratePerSecond: number): number {
  if (ratePerSecond <= 0) return 0;
  const earlyMs = Math.max(0, BURST_MS - 1_000 / ratePerSecond);
  return Math.max(0, Math.ceil(limiter - earlyMs - now));
}

/** The pace after one more message. */
export function afterMessage(limiter: RateLimiter, now: number, ratePerSecond: number): RateLimiter {
  return ratePerSecond <= 0 ? limiter : Math.max(limiter, now) + 1_000 / ratePerSecond;
}

/** The pace when a message that had its turn did not use it. */
export function givenBack(limiter: RateLimiter, ratePerSecond: number): RateLimiter {
  return ratePerSecond <= 0 ? limiter : limiter - 1_000 / ratePerSecond;
}
