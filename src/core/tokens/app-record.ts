import type { Timeline } from '../kernel/timeline.ts';
import { ISSUER_KINDS } from './issuers.ts';
import type { Budget, IssuerKind, SharedPart, StoredApp, StoredToken } from './ports.ts';
import type { Life } from './schedule.ts';
import type { Token } from './state.ts';

/** A token in hand. Times are elapsed milliseconds (see Timeline). */
export interface CurrentToken extends Life {
  readonly value: string;
  readonly id: string;
  /** When WeChat's answer arrived, in monotonic milliseconds. */
  readonly answeredAt: number;
  /** When it should be replaced, or the successor of a stable token first looked for. */
  readonly dueAt: number;
}

/** The token before the current one, honoured until `expiresAt`. */
export type PreviousToken = Omit<CurrentToken, 'dueAt'>;

/** What a keeper knows of its app and stores of it. Times are elapsed milliseconds. A change makes a new one. */
export interface AppRecord {
  /** Where `current` comes from. */
  readonly issuer: IssuerKind;
  readonly generation: number;
  readonly current: CurrentToken | null;
  readonly previous: PreviousToken | null;
  readonly budget: Budget;
  readonly lastMintAt: number;
  readonly lastForcedAt: number;
  /**
   * Mints begun since `current` came whose outcome is not recorded, one that is under way included: each may have replaced it by
   * a token that nobody has. Where replicas share the app, the number of its intents.
   */
  readonly openMints: number;
  /** As in StoredApp, and with its wall times. */
  readonly shared?: SharedPart | undefined;
}

/** What is known of an app that was never seen before. */
export function emptyRecord(issuer: IssuerKind = ISSUER_KINDS[0]): AppRecord {
  return {
    issuer,
    generation: 0,
    current: null,
    previous: null,
    budget: { day: 0, mints: 0, forced: 0 },
    lastMintAt: Number.NEGATIVE_INFINITY,
    lastForcedAt: Number.NEGATIVE_INFINITY,
    openMints: 0,
  };
}

/** The record to store. */
export function toStored(appId: string, record: AppRecord, timeline: Timeline): StoredApp {
  const time = (at: number) => (at === Number.NEGATIVE_INFINITY ? 0 : timeline.wallOf(at));
  return {
    appId,
    issuer: record.issuer,
    generation: record.generation,
    current: record.current && toToken(record.current, timeline),
    previous: record.previous && toToken(record.previous, timeline),
    budget: record.budget,
    lastMintTime: time(record.lastMintAt),
    lastForcedTime: time(record.lastForcedAt),
    openMints: record.openMints,
    ...(record.shared && { shared: record.shared }),
  };
}

/** What a stored record says now; tokens whose time is over are left out. `due` gives a token's `dueAt`. */
export function fromStored(stored: StoredApp, now: number, timeline: Timeline, due: (life: Life) => number): AppRecord {
  const past = (wall: number) => (wall === 0 ? Number.NEGATIVE_INFINITY : Math.min(now, timeline.momentOf(wall)));
  const current = revive(stored.current, now, timeline);
  return {
    issuer: stored.issuer,
    generation: stored.generation,
    current: current && { ...current, dueAt: due(current) },
    previous: current && revive(stored.previous, now, timeline),
    budget: stored.budget,
    lastMintAt: past(stored.lastMintTime),
    lastForcedAt: past(stored.lastForcedTime),
    openMints: stored.openMints,
    ...(stored.shared && { shared: stored.shared }),
  };
}

/** A stored token as of now; null where its time is over. */
export function revive(token: StoredToken | null, now: number, timeline: Timeline): PreviousToken | null {
  if (!token) return null;
  // A wall clock that was set back while nobody watched must not lengthen a life.
  const expiresAt = Math.min(timeline.momentOf(token.expireTime), now + token.expireTime - token.issueTime);
  const issuedAt = expiresAt - (token.expireTime - token.issueTime);
  const answeredAt = now - timeline.leaptMs;
  return expiresAt > now ? { value: token.value, id: token.id, issuedAt, expiresAt, answeredAt } : null;
}

/** Whether these are one token. */
export function sameToken(a: PreviousToken, b: PreviousToken): boolean {
  return a.value === b.value;
}

/** A token as callers and the store see it. */
export function toToken(token: PreviousToken, timeline: Timeline): Token & StoredToken {
  return Object.freeze({
    value: token.value,
    id: token.id,
    issueTime: timeline.wallOf(token.issuedAt),
    expireTime: timeline.wallOf(token.expiresAt),
  });
}

/** The same token, if the last `ms` had not passed: what it is where the clock was only set. */
export function extendedBy(token: CurrentToken, ms: number): CurrentToken {
  const { issuedAt, expiresAt, dueAt } = token;
  return { ...token, issuedAt: issuedAt + ms, expiresAt: expiresAt + ms, dueAt: dueAt + ms };
}
