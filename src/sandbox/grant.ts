import type { IssuerKind } from '../core/tokens/ports.ts';
import type { Account } from './account.ts';
import { conditionErrcodes } from './app.ts';
import type { GrantCall } from './calls.ts';
import type { IssuedToken } from './chain.ts';
import { invalidIp, plainIp } from './errmsgs.ts';
import type { Refusal } from './told.ts';

/** A token that a call is answered with. */
export interface Granted {
  readonly token: IssuedToken;
  /** The call made it. */
  readonly minted: boolean;
}

/** What a call for a token gets, whose secret is right. `mint` makes a new one. */
export function grant(
  call: GrantCall,
  account: Account,
  now: number,
  mint: (issuer: IssuerKind) => IssuedToken,
): Granted | Refusal {
  const { app, chains, quotas } = account;
  if (app.allowList && !app.allowList.includes(plainIp(call.ip))) return { errcode: 40164, errmsg: invalidIp(call.ip) };
  if (app.condition !== 'normal') return { errcode: conditionErrcodes[app.condition] };

  if (call.kind === 'classic') {
    const refused = quotas.classic.take(now, app.quotas.classicPerDay, app.quotas.classicPerMinute);
    return refused ? { errcode: refused } : { token: mint('classic'), minted: true };
  }
  const refused = quotas.stable.take(now, app.quotas.stablePerDay, app.quotas.stablePerMinute);
  if (refused) return { errcode: refused };
  if (call.kind === 'stable_force') {
    const spent = quotas.forced.take(now, app.quotas.forcedPerDay, Number.POSITIVE_INFINITY);
    if (spent) return { errcode: spent };
    if (now - account.lastForcedAt >= app.forceSpacingMs) {
      account.lastForcedAt = now;
      return { token: mint('stable'), minted: true };
    }
    if (app.forceTooSoon !== 'current') return { errcode: app.forceTooSoon };
  }
  // A token with less than a second left would be answered with `expires_in` 0.
  const token = chains.stable.readable(now, Math.max(app.overlapMs, 999));
  return token ? { token, minted: false } : { token: mint('stable'), minted: true };
}

/** Why a token of this account is refused; 0: it is good. */
export function refusalOf({ app, chains }: Account, value: string, now: number): number {
  if (app.condition === 'account_closed') return conditionErrcodes.account_closed;
  const token = [...chains.classic.tokens, ...chains.stable.tokens].find((each) => each.value === value);
  if (!token || now >= token.endsAt) return 42001;
  return now >= token.diesAt ? 40001 : 0;
}
