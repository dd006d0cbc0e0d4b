const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Asia/Shanghai is UTC+8 all year. */
export const SHANGHAI_MS = 8 * HOUR_MS;

/** By how much our clock may be ahead of WeChat's, so that a quota is not asked for before it resets. */
const DAY_MARGIN_MS = MINUTE_MS;
const MINUTE_MARGIN_MS = 2_000;

/** A spent daily quota is asked for again after this long at the latest: operators clear quotas, and then they work at once. */
export const QUOTA_ASK_AGAIN_MS = 15 * MINUTE_MS;

/** The day in Shanghai of a wall-clock moment, counted from 1970. */
export function shanghaiDay(wallNow: number): number {
  return Math.floor((wallNow + SHANGHAI_MS) / DAY_MS);
}

/** WeChat's day of a wall-clock moment, by which tokens and messages are counted: `Budget.day`. */
export function quotaDay(wallNow: number, quotaResetHour: number): number {
  return shanghaiDay(wallNow - quotaResetHour * HOUR_MS);
}

/** The first of WeChat's days that may not have ended, at whatever hour they begin. */
export function oldestQuotaDay(wallNow: number): number {
  return Math.floor(wallNow / DAY_MS) - 2;
}

/** Milliseconds until WeChat's daily quotas reset: more than 0, at most a day. */
export function msUntilReset(wallNow: number, quotaResetHour: number): number {
  return DAY_MS - ((wallNow + SHANGHAI_MS - quotaResetHour * HOUR_MS) % DAY_MS);
}

/**
 * When a quota has certainly reset that a call found spent: wall-clock milliseconds. `startedAt` is when the call began; one
 * whose answer took long may have met a quota that has reset since.
 */
export function quotaResetAt(quota: 'daily_quota' | 'minute_quota', startedAt: number, quotaResetHour: number): number {
  return quota === 'daily_quota'
    ? startedAt + msUntilReset(startedAt - DAY_MARGIN_MS, quotaResetHour)
    : startedAt + MINUTE_MS - ((startedAt - MINUTE_MARGIN_MS) % MINUTE_MS);
}
