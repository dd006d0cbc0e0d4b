import type { IssuerKind } from '../../../src/core/ports.ts';
import type { Bounds } from '../bounds.ts';
import type { Facts, Mint } from '../facts.ts';

/**
 * Until when someone may be shown a token that WeChat refuses; Infinity while a fault makes it unavoidable.
 *
 * - While the replica that shows it is down, paused or (classic) cut off from the store, it cannot know better; on stable it
 *   can ask WeChat itself. While no replica has both WeChat and the store, none can make a better one. Time counts from the
 *   end of all that.
 * - Nor can any when the day's budget is spent.
 * - What our own mints do to a token is mended before it is felt: what is left is propagation. A fault of any replica a
 *   while before, or meanwhile, adds a takeover.
 * - Only what nobody here can know has to be detected: on classic what `Facts.isSilent` says, on stable a mint from outside
 *   and a token that was revoked, and without the store what other replicas did.
 */
export function allowedUntil(
  { facts, bounds }: { facts: Facts; bounds: Bounds },
  shown: { host: number; issuer: IssuerKind; token: Mint; since: number },
  now: number,
): number {
  const { host, issuer, token } = shown;
  if (facts.isSpent(token.app, now, bounds)) return Number.POSITIVE_INFINITY;
  const storeless = facts.lastBad(host, 'store');
  const still = facts.lastBad(host, 'down', 'paused');
  const helpless =
    issuer === 'classic'
      ? Math.max(storeless, facts.noneAbleAt)
      : Math.min(Math.max(storeless, facts.noneAbleAt), facts.lastBad(host, 'upstream'));
  const since = Math.max(shown.since, still, helpless);
  if (since === Number.POSITIVE_INFINITY) return since;
  let allowedMs = bounds.propagationMs;
  if (facts.lastFault >= since - bounds.takeoverMs) allowedMs += bounds.takeoverMs;
  if (isUnknowable(facts, issuer, token) || (issuer === 'stable' && storeless >= since))
    allowedMs += bounds.detectionMs;
  return since + allowedMs;
}

/** Whether nobody here can know what made a token die. */
function isUnknowable(facts: Facts, issuer: IssuerKind, { killer, successor }: Mint): boolean {
  if (killer === undefined) return false;
  if (isHidden(facts, issuer, killer)) return true;
  // One that nobody knows of took its overlap, and one whose answer was lost its life.
  const isLost = killer !== 'revoked' && killer.call?.outcome === 'lost';
  return isLost && successor !== undefined && isHidden(facts, issuer, successor);
}

/** Whether nobody here can know what happened to a token. */
export function isHidden(facts: Facts, issuer: IssuerKind, cause: Mint | 'revoked'): boolean {
  if (cause === 'revoked' || cause.by === 'outside' || cause.at <= facts.forgottenAt) return true;
  return issuer === 'classic' && facts.isSilent(cause);
}
