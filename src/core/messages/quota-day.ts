import { msUntilReset } from '../budget.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Asia/Shanghai is UTC+8 all year. */
const SHANGHAI_HOURS = 8;

/** The day of a wall-clock moment by which messages are counted: `Budget.day`. */
export function quotaDay(wallNow: number, quotaResetHour: number): number {
  const nextReset = wallNow + msUntilReset(wallNow, quotaResetHour);
  return Math.round((nextReset + (SHANGHAI_HOURS - quotaResetHour) * HOUR_MS) / DAY_MS) - 1;
}
