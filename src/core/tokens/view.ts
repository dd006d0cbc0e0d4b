import { type LingpaiError, RECORD_SEALED, type UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, toToken } from './app-record.ts';
import type { Status, Token, TokenState } from './state.ts';

/** How the keeper's own calls to WeChat are going. */
export type Health =
  | { readonly kind: 'well' }
  | {
      readonly kind: 'failing';
      readonly error: UpstreamError | LingpaiError;
      /** Failures in a row. */
      readonly failures: number;
      /** When it is tried again, in elapsed milliseconds. */
      readonly retryAt: number;
    };

/** Whether WeChat accepts the current token, as far as anyone knows. `dead`: it refuses it. */
export type Trust = 'trusted' | 'dead';

/** All that a state is made of. */
export interface Facts {
  readonly appId: string;
  readonly record: AppRecord;
  readonly health: Health;
  readonly trust: Trust;
  readonly storeFailing: boolean;
  /** Whether no key here opens the record in the store. */
  readonly isSealed: boolean;
  /** What is reported of the token while WeChat's own word is wanting; empty: nothing. */
  readonly suspicion: string;
  /** Why WeChat does not accept a changed secret; empty: nothing is known against it. */
  readonly secretFault: string;
  /** What an operator should know although the token is good; empty words: nothing. */
  readonly warnings: readonly string[];
  readonly nextRefreshAt: number;
}

/** What callers see at a moment of elapsed time. */
export function viewOf(facts: Facts, now: number, timeline: Timeline): TokenState {
  const { record } = facts;
  const current = record.current && record.current.expiresAt > now ? record.current : null;
  // Whatever an open mint made has displaced it: WeChat honours only the token directly before its newest.
  const previousOf = record.openMints === 0 ? record.previous : null;
  const previous = current && previousOf && previousOf.expiresAt > now ? previousOf : null;
  const [status, statusReason] = statusOf(facts, current !== null);
  const next = Math.max(facts.nextRefreshAt, now);
  return Object.freeze({
    appId: facts.appId,
    generation: record.generation,
    current: current && toToken(current, timeline),
    previous: previous && toToken(previous, timeline),
    status,
    statusReason,
    nextRefreshTime: Number.isFinite(next) ? timeline.wallOf(next) : null,
    answeredAt: record.current?.answeredAt ?? now,
  });
}

/** What is said of a token first of all where WeChat refuses it. */
const REFUSED = 'WeChat refuses the current token';

/** Whether WeChat is known to refuse the current token. */
export function isKnownDead({ statusReason }: TokenState): boolean {
  return statusReason.startsWith(REFUSED);
}

function statusOf(facts: Facts, usable: boolean): [Status, string] {
  const { record, health, trust, storeFailing, isSealed, suspicion, secretFault, warnings } = facts;
  const refused = trust === 'dead' ? REFUSED : '';
  const faults = [
    usable ? suspicion || refused : '',
    health.kind === 'failing' ? health.error.message : '',
    storeFault(isSealed, storeFailing),
    secretFault,
  ].filter((fault) => fault !== '');
  const reason = [...faults, ...warnings.filter((warning) => warning !== '')].join('; ');
  if (!usable) return [record.generation === 0 ? 'PENDING' : 'EXPIRED', reason];
  return [faults.length > 0 ? 'DEGRADED' : 'FRESH', reason];
}

function storeFault(isSealed: boolean, isFailing: boolean): string {
  if (isSealed) return RECORD_SEALED;
  return isFailing ? 'the store cannot be written; the token is served from memory and the write is repeated' : '';
}

/** Whether watchers would see no difference. */
export function sameView(a: TokenState, b: TokenState): boolean {
  return (
    a.generation === b.generation &&
    a.status === b.status &&
    a.statusReason === b.statusReason &&
    sameToken(a.current, b.current) &&
    sameToken(a.previous, b.previous)
  );
}

function sameToken(a: Token | null, b: Token | null): boolean {
  return a?.value === b?.value && a?.expireTime === b?.expireTime;
}
