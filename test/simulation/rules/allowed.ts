import type { IssuerKind } from '../../../src/core/tokens/ports.ts';
import type { Cause, Mint } from '../facts.ts';
import type { Evidence } from './rule.ts';

type Known = Pick<Evidence, 'facts' | 'bounds'>;

/**
 * Until when someone may be shown a token that WeChat refuses; Infinity while a fault makes it unavoidable.
 *
 * Each of these limits a promise:
 *
 * - P11, P4: while the replica that shows it is down, paused or cut off from the store, it cannot know better; on stable it
 *   can ask WeChat itself, unless only a forced call helps, which takes the store. While no replica has both WeChat and the
 *   store, none can make a better one. Time counts from the end of all that.
 * - P17: nor can any when the day's budget is spent, which P8 keeps; time counts from the next day then.
 * - P4: what our own mints do to a token is mended before it is felt: what is left is propagation. P11: a fault of any
 *   replica a while before, or meanwhile, adds a takeover.
 * - P11: only what nobody here can know has to be detected: on classic what `Facts.isSilent` says, on stable a mint from
 *   outside and a token that was revoked, and without the store what other replicas did. That takes longer where some
 *   replica cannot reach WeChat: it may be the one that probes.
 */
export function allowedUntil(
  { facts, bounds }: Known,
  shown: { host: number; issuer: IssuerKind; token: Mint; since: number },
  now: number,
): number {
  const { host, issuer, token } = shown;
  if (facts.isSpent(token.app, now, bounds)) return Number.POSITIVE_INFINITY;
  const storeless = facts.lastBad(host, 'store');
  const still = facts.lastBad(host, 'down', 'paused');
  const helpless =
    issuer === 'classic' || token.killer === 'stuck'
      ? Math.max(storeless, facts.noneAbleAt)
      : Math.min(Math.max(storeless, facts.noneAbleAt), facts.lastBad(host, 'upstream'));
  const since = Math.max(shown.since, still, helpless, facts.replenishedAt(token.app, now, bounds));
  if (since === Number.POSITIVE_INFINITY) return since;
  let allowedMs = bounds.propagationMs;
  if (facts.lastFault >= since - bounds.takeoverMs) allowedMs += bounds.takeoverMs;
  if (isUnknowable({ facts, bounds }, issuer, token) || (issuer === 'stable' && storeless >= since)) {
    const isFar = facts.hosts.some((_, index) => facts.lastBad(index, 'upstream') >= since);
    allowedMs += isFar ? bounds.farDetectionMs : bounds.detectionMs;
  }
  return since + allowedMs;
}

/** Whether nobody here can know what made a token die. */
function isUnknowable(evidence: Known, issuer: IssuerKind, { killer, successor, at }: Mint): boolean {
  // Limits P13: its own time is over, and by a clock that was set since nobody can tell.
  if (killer === undefined) return evidence.facts.clockSetAt >= at;
  if (isHidden(evidence, issuer, killer)) return true;
  // Limits P11: one that nobody knows of took its overlap, and one whose answer was lost its life; or two of the latter did.
  const isLost = (mint: Cause) => typeof mint !== 'string' && mint.call?.outcome === 'lost';
  if (successor === undefined || successor === killer || !isLost(killer)) return false;
  return isLost(successor) || isHidden(evidence, issuer, successor);
}

/** Whether nobody here can know what happened to a token. */
export function isHidden({ facts, bounds }: Known, issuer: IssuerKind, cause: Cause): boolean {
  if (typeof cause === 'string' || facts.isForgotten(cause)) return true;
  return issuer === 'classic' && facts.isSilent(cause, bounds);
}
