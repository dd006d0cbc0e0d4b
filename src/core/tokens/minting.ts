import { LingpaiError } from '../kernel/errors.ts';
import { msUntilReset } from '../kernel/quota-day.ts';
import type { AppRecord } from './app-record.ts';
import { allowsForcedMint, budgetNow, scheduledWaitMs, spend } from './budget.ts';
import type { RefreshCause } from './events.ts';
import { MINTS, type MintCall } from './issuers.ts';
import type { Settings } from './ports.ts';

/** A mint that someone wants, and when. */
export interface MintWish {
  readonly appId: string;
  readonly call: MintCall;
  readonly cause: RefreshCause;
  readonly now: number;
  readonly wallNow: number;
}

/** Why a mint may not happen now, with the time after which it may; undefined: it may. */
export function mintRefusal(record: AppRecord, wish: MintWish, settings: Settings): LingpaiError | undefined {
  const { appId, call, cause, now, wallNow } = wish;
  const { spends, limit, spacingMs } = MINTS[call];
  const budget = budgetNow(record.budget, wallNow, settings);
  const spent = (retryAfterMs: number) =>
    new LingpaiError(`${limit} does not allow a refresh now`, { reason: 'BUDGET_EXHAUSTED', appId, retryAfterMs });
  if (cause === 'scheduled') {
    const waitMs = spends === 'mints' ? scheduledWaitMs(budget, now - record.lastMintAt, wallNow, settings) : 0;
    return waitMs > 0 ? spent(waitMs) : undefined;
  }
  const cooling = cooldownRefusal(record, appId, now, Math.max(settings.cooldownMs, spacingMs));
  if (cooling) return cooling;
  const allowed = allowsForcedMint(budget, spends, settings);
  return allowed ? undefined : spent(msUntilReset(wallNow, settings.quotaResetHour));
}

/** The refusal of a mint that a caller wants during the cooldown; undefined: the cooldown is over. */
export function cooldownRefusal(
  record: AppRecord,
  appId: string,
  now: number,
  cooldownMs: number,
): LingpaiError | undefined {
  const retryAfterMs = record.lastForcedAt + cooldownMs - now;
  if (retryAfterMs <= 0) return undefined;
  return new LingpaiError('the last refresh was too recent (refresh.cooldown; 30 s for a stable token)', {
    reason: 'COOLDOWN',
    appId,
    retryAfterMs,
  });
}

/** The record once a mint has begun. The budget is spent before the call, so that no crash can have it spent twice. */
export function mintBegun(record: AppRecord, wish: MintWish, settings: Settings): AppRecord {
  return {
    ...record,
    budget: spend(budgetNow(record.budget, wish.wallNow, settings), MINTS[wish.call].spends, 1),
    lastMintAt: wish.now,
    lastForcedAt: wish.cause === 'scheduled' ? record.lastForcedAt : wish.now,
    openMints: record.openMints + 1,
  };
}

/** The record once WeChat is known not to have minted. The cooldown that the attempt began stays. */
export function mintUndone(record: AppRecord, call: MintCall): AppRecord {
  return { ...record, budget: spend(record.budget, MINTS[call].spends, -1), openMints: record.openMints - 1 };
}
