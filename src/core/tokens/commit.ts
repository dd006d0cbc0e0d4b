import type { AppRecord, CurrentToken } from './app-record.ts';
import type { Issued } from './issuing.ts';
import type { IssuerKind } from './ports.ts';
import type { Life } from './schedule.ts';

/** Two estimates of one token's expiry that differ by less are the same: WeChat counts in whole seconds. */
const EXPIRY_NOISE_MS = 2_000;

/** What a commit needs to know beside the grant. */
export interface CommitContext {
  /** The endpoint that answered. */
  readonly issuer: IssuerKind;
  /** Whether the current token works, as far as anyone knows. */
  readonly trusted: boolean;
  /** Whether it is replaced on the schedule, and not since it was found to be dead: what was wrong with another is over. */
  readonly isQuiet: boolean;
  readonly now: number;
  readonly wallNow: number;
  /** By how much a generation exceeds the last one at least, where the clock is behind it: 1 or more. */
  readonly generationStep: number;
  readonly overlapMs: number;
  /** Whether WeChat honours the current token beside the one that replaces it: no other mint can have come in between. */
  readonly previousIsHonoured: boolean;
  /** `dueAt` of a token. */
  readonly due: (life: Life) => number;
}

/** The record after WeChat's answer, and whether it has a new generation. The record given stays as it is. */
export function commit(
  record: AppRecord,
  issued: Issued,
  context: CommitContext,
): { record: AppRecord; rotated: boolean } {
  const { current, previous } = record;
  const life = { issuedAt: issued.sentAt, expiresAt: issued.sentAt + issued.lifetimeMs };
  if (current && issued.value === current.value) {
    const moved = Math.abs(life.expiresAt - current.expiresAt) >= EXPIRY_NOISE_MS;
    const expiresAt = moved ? life.expiresAt : current.expiresAt;
    const same: CurrentToken = { ...current, expiresAt, dueAt: context.due({ ...life, expiresAt }) };
    // An open mint may have been the other issuer's, and then it has displaced what the current token replaced.
    const graceKnown = record.openMints > 0 ? null : previous;
    return {
      record: { ...record, issuer: context.issuer, current: same, previous: graceKnown, openMints: 0 },
      rotated: false,
    };
  }
  if (current && previous && issued.value === previous.value && record.issuer === context.issuer) {
    // WeChat's own replicas may lag: an older answer never replaces a newer one.
    const dueAt = context.due({ issuedAt: context.now, expiresAt: current.expiresAt });
    return { record: { ...record, current: { ...current, dueAt } }, rotated: false };
  }
  return {
    record: {
      ...record,
      issuer: context.issuer,
      generation: Math.max(record.generation + context.generationStep, Math.floor(context.wallNow)),
      current: {
        value: issued.value,
        id: issued.id,
        ...life,
        answeredAt: issued.answeredAt,
        dueAt: context.due(life),
      },
      previous: previousOf(record, issued, context),
      openMints: 0,
    },
    rotated: true,
  };
}

/** The current token as the next one's predecessor; null unless WeChat is known to honour it still. */
function previousOf(record: AppRecord, issued: Issued, context: CommitContext): AppRecord['previous'] {
  const { current } = record;
  if (!current || !context.trusted || !context.previousIsHonoured) return null;
  const { dueAt: _, ...token } = current;
  // A read shows that it was replaced by now; the tokens of another issuer replace nothing.
  const replacedAt = record.issuer === context.issuer ? (issued.mintedAt ?? issued.sentAt) : Infinity;
  const expiresAt = Math.min(token.expiresAt, replacedAt + context.overlapMs);
  return expiresAt > context.now ? { ...token, expiresAt } : null;
}
