import { LingpaiError, type UpstreamError } from '../kernel/errors.ts';
import type { AppRecord, CurrentToken } from './app-record.ts';
import { ISSUERS } from './issuers.ts';
import type { IssuerKind } from './ports.ts';
import type { Health, Trust } from './view.ts';

/** What the keeper does next by itself. */
export interface Plan {
  /** When, in elapsed milliseconds; a moment that has passed: now. */
  readonly at: number;
  /**
   * `renew`: ask for the token, or for its successor. `replace_dead`: the same for a token that WeChat refuses, beside the
   * schedule. `confirm`: a leap of the clock may have ended the token's life; ask WeChat. `look`: the token is reported; find out
   * whether it is dead. `try_secret`: ask whether a changed secret is right, and change nothing.
   */
  readonly step: 'renew' | 'replace_dead' | 'confirm' | 'look' | 'try_secret';
}

/** All that the plan depends on. */
export interface Situation {
  readonly record: AppRecord;
  readonly health: Health;
  readonly trust: Trust;
  /** The current token, if the clock was only set: what `confirm` asks about. */
  readonly doubt: CurrentToken | null;
  /** Where the app's tokens are to come from now. */
  readonly issuer: IssuerKind;
  /** Whether the issuer was changed here, or before this process started, and has brought no token since. */
  readonly isSwitched: boolean;
  /** When mints of unknown outcome have the token asked for, in elapsed milliseconds; Infinity: there are none. */
  readonly confirmationDueAt: number;
  /** When WeChat is asked again about a token that is reported, in elapsed milliseconds; Infinity: it need not be. */
  readonly lookAt: number;
  /** When a changed secret is to be tried, in elapsed milliseconds; Infinity: it need not be. */
  readonly trialAt: number;
  /** What is due is not begun before this: it spreads the first calls of many apps, and keeps calls in vain apart. */
  readonly startAt: number;
}

/** A mint that is due within this time tries a changed secret itself. */
const MINT_IS_NEAR_MS = 10 * 60_000;

/** Decides what the keeper does next, and when. */
export function planNext(situation: Situation, now: number): Plan {
  const { record, health, trust, doubt, issuer, isSwitched, confirmationDueAt, lookAt, trialAt, startAt } = situation;
  const { current } = record;
  const { isReadable } = ISSUERS[issuer];
  const alive = current !== null && current.expiresAt > now;
  const isDue = alive && now >= Math.min(current.dueAt, confirmationDueAt);
  const at = whenNext();
  if (trialAt < at) {
    const isFar = !isReadable && at - trialAt > MINT_IS_NEAR_MS;
    return { at: trialAt, step: isFar ? 'try_secret' : whatNext() };
  }
  const isSuspected = alive && trust === 'trusted' && health.kind === 'well';
  return isSuspected && lookAt < at ? { at: lookAt, step: 'look' } : { at, step: whatNext() };

  function whenNext(): number {
    if (health.kind === 'failing') return health.retryAt;
    // A replica with another configuration brought a token of the other issuer. Replacing it at once would have the two
    // replicas replace each other's tokens without end.
    const mustReplace = !alive || trust === 'dead' || (isSwitched && record.issuer !== issuer);
    return mustReplace ? startAt : Math.max(startAt, Math.min(current.dueAt, current.expiresAt, confirmationDueAt));
  }

  function whatNext(): Plan['step'] {
    if (doubt && doubt.expiresAt > now && !isReadable) return 'confirm';
    // A classic token that is due anyway, or that a lost mint of ours may have replaced, is replaced on the schedule: reports cannot
    // spend the schedule's share of the budget.
    return alive && trust === 'dead' && !(isDue && !isReadable) ? 'replace_dead' : 'renew';
  }
}

/**
 * When a refresh that failed is tried again, given when its error says (`plannedAt`). While a dead token cannot be replaced
 * its schedule goes on: classic at its time, if the mint was not asked for (cooldown, budget); stable by reads, which cost
 * nothing, whatever became of the forced call. `isRead`: it was the read that failed.
 */
export function retryAtLatest(
  { record, trust, issuer }: Pick<Situation, 'record' | 'trust' | 'issuer'>,
  { error, isRead }: { readonly error: UpstreamError | LingpaiError; readonly isRead: boolean },
  plannedAt: number,
  now: number,
  stablePollMs: number,
): number {
  const { current } = record;
  if (trust !== 'dead' || !current) return plannedAt;
  if (ISSUERS[issuer].isReadable) return isRead ? plannedAt : Math.min(plannedAt, now + stablePollMs);
  const isAsked = !(error instanceof LingpaiError);
  return now < current.dueAt && !isAsked ? Math.min(plannedAt, current.dueAt) : plannedAt;
}
