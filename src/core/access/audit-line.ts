import type { AuditEvent } from './ports.ts';

/** One line of the audit log. What does not belong to the event is left out. Times are wall-clock milliseconds. */
export interface AuditLine extends About {
  /** How many times it happened, and when first and last. */
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

/** What a line is about. */
export interface About {
  /** `audit.lost`: something is missing here. */
  readonly event: AuditEvent['event'] | 'audit.lost';
  /** The principal's name, or OTHER. */
  readonly caller?: string;
  /** Names the credential that was presented; null: there was none. */
  readonly keyId?: string | null;
  /** The address that the call came from, or OTHER. */
  readonly peer?: string;
  readonly verb?: string;
  /** As it was asked for, or OTHER, or INVALID. */
  readonly appId?: string;
  /** At most MAX_APP_IDS; `['*']`: all that the caller may read. */
  readonly appIds?: readonly string[];
  /** At most MAX_TOKEN_IDS. */
  readonly tokenIds?: readonly string[];
  readonly outcome?: string;
  /** The type of the ticket that was handed out; without: it was a token. */
  readonly kind?: string;
  /** How somebody who was not believed tried, and why that did not do. */
  readonly method?: string;
  readonly cause?: string;
  /** How many rules and apps were configured, or how many apps a watch names when it is opened. */
  readonly rules?: number;
  readonly apps?: number;
}

/** The events of which many become one line. */
export type Counted = Extract<
  AuditEvent,
  { readonly event: 'token.read' | 'messages.sent' | 'gateway.called' | 'access.denied' | 'authn.failed' }
>;

/** What stands in a line for all that no line of their own is kept for. */
export const OTHER = 'other';
/** What stands in a line for what is no app's id: a caller who mixed something up may have sent a secret as one. */
export const INVALID = 'invalid';
const APP_ID = /^[A-Za-z0-9_-]{1,64}$/;
/** A caller's key looks like an app's id, and an SDK that was told the two the wrong way round sends one for the other. */
const KEY = /^lingpai_[0-9A-Za-z]{30,}$/;
/** How many token ids a line names. */
export const MAX_TOKEN_IDS = 16;
/** How many apps of a watch a line names. */
export const MAX_APP_IDS = 16;
/** What others chose is kept so far, in UTF-16 units. */
const MAX_TEXT = 128;

/** What a line says of an event, without its tokens where many are counted. */
export function about(event: AuditEvent): About {
  switch (event.event) {
    case 'token.read': {
      const { kind } = event;
      return { event: event.event, ...callOf(event), appId: appName(event.appId), ...(kind !== undefined && { kind }) };
    }
    case 'quota.read':
    case 'quota.cleared':
    case 'request.read':
    case 'token.probed':
    case 'messages.sent':
    case 'gateway.called':
      return { event: event.event, ...callOf(event), appId: appName(event.appId), outcome: short(event.outcome) };
    case 'access.denied':
      return { event: event.event, ...callOf(event), verb: event.verb, appId: appName(event.appId) };
    case 'authn.failed': {
      const { peer, method, cause, caller, keyId } = event;
      const known = caller === undefined ? {} : { caller, keyId: keyId ?? null };
      return { event: event.event, ...known, peer: short(peer), method: short(method), cause: short(cause) };
    }
    case 'watch.opened':
    case 'watch.closed': {
      const { appIds } = event;
      const named = appIds.length === 0 ? ['*'] : appIds.slice(0, MAX_APP_IDS).map(appName);
      const apps = event.event === 'watch.opened' ? { apps: appIds.length } : {};
      return { event: event.event, ...callOf(event), appIds: named, ...apps };
    }
    case 'token.reported':
    case 'token.refreshed': {
      const { appId, tokenId, outcome } = event;
      const tokenIds = tokenId === null ? [] : [tokenId];
      return { event: event.event, ...callOf(event), appId: appName(appId), tokenIds, outcome: short(outcome) };
    }
    case 'config.loaded':
      return { event: event.event, rules: event.rules, apps: event.apps };
    case 'key.added':
    case 'key.revoked':
      return { event: event.event, caller: event.caller, keyId: event.keyId };
    case 'stream.ended':
      return { event: event.event, ...callOf(event), outcome: short(event.outcome) };
    case 'store.resealed':
      return { event: event.event, keyId: event.keyId };
  }
}

function callOf({ call: { caller, peer } }: Extract<AuditEvent, { readonly call: unknown }>) {
  return { caller: caller.name, keyId: caller.credentialId, peer };
}

/** An app id as lines have it. */
export function appName(appId: string): string {
  return APP_ID.test(appId) && !KEY.test(appId) ? appId : INVALID;
}

/**
 * Whether a text is an app's id by its look, whether or not there is such an app: the id of a Mini Program or an Official Account, or
 * the original id of either. A secret, a key, a token or an openid is longer.
 */
export function looksLikeApp(text: string): boolean {
  return /^(?:wx|gh_)[0-9A-Za-z]{1,16}$/.test(text);
}

/** Short enough to be kept. A part of a long text would hold all of it in memory: it is written anew. */
export function short(text: string): string {
  return text.length <= MAX_TEXT ? text : `${Array.from(text.slice(0, MAX_TEXT)).join('')}...`;
}
