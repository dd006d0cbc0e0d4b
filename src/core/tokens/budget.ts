import { msUntilReset, quotaDay } from '../kernel/quota-day.ts';
import type { MintTraits } from './issuers.ts';
import type { Budget, Settings } from './ports.ts';

/** The share of the daily budget that only scheduled refreshes may spend. */
const RESERVE = 0.2;

/** The budget as of now: the same, or a new one when WeChat's day has changed since. */
export function budgetNow(budget: Budget, wallNow: number, settings: Settings): Budget {
  const day = quotaDay(wallNow, settings.quotaResetHour);
  // A clock that was a little ahead must not give the day's budget twice; one that was far ahead must not withhold it.
  if (day <= budget.day && budget.day <= day + 1) return budget;
  return { day, mints: 0, forced: 0 };
}

/** What two records of one app say was spent: the later day's, or of one day the greater counts. */
export function joinBudgets(a: Budget, b: Budget): Budget {
  if (a.day !== b.day) return a.day > b.day ? a : b;
  return { day: a.day, mints: Math.max(a.mints, b.mints), forced: Math.max(a.forced, b.forced) };
}

/**
 * How much longer a scheduled mint must wait for the budget to last the day, when the last one was `sinceMintMs` ago. 0
 * while there is plenty; an outage that eats into the reserve is asked about ever more slowly, but not given up on.
 */
export function scheduledWaitMs(budget: Budget, sinceMintMs: number, wallNow: number, settings: Settings): number {
  const left = settings.dailyBudget - budget.mints;
  const untilReset = msUntilReset(wallNow, settings.quotaResetHour);
  if (left <= 0) return untilReset;
  if (left > settings.dailyBudget * RESERVE) return 0;
  return Math.max(0, untilReset / left - sinceMintMs);
}

/** What was spent of one of the day's counts. */
export interface Spent {
  readonly used: number;
  readonly dailyLimit: number;
  /** When the count begins anew: wall-clock milliseconds. */
  readonly resetTime: number;
}

/** What was spent today. */
export function spentNow(budget: Budget, spends: MintTraits['spends'], wallNow: number, settings: Settings): Spent {
  const used = budgetNow(budget, wallNow, settings)[spends];
  const dailyLimit = spends === 'forced' ? settings.forceDailyBudget : settings.dailyBudget;
  return { used, dailyLimit, resetTime: wallNow + msUntilReset(wallNow, settings.quotaResetHour) };
}

/** Whether the budget has room for a mint that is not on the schedule. */
export function allowsForcedMint(budget: Budget, spends: MintTraits['spends'], settings: Settings): boolean {
  if (spends === 'forced') return budget.forced < settings.forceDailyBudget;
  return settings.dailyBudget - budget.mints > settings.dailyBudget * RESERVE;
}

/** The budget after one more mint, or (`count` -1) after one that turns out not to have happened. */
export function spend(budget: Budget, spends: MintTraits['spends'], count: 1 | -1): Budget {
  return { ...budget, [spends]: Math.max(0, budget[spends] + count) };
}
