import type { Clock, Random } from '../kernel/clock.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { BrokerEvent } from '../tokens/events.ts';
import type { Budget, Grant, Settings, StoredToken, Trouble } from '../tokens/ports.ts';
import type { Rejected } from '../tokens/rejected.ts';
import type { TokenState } from '../tokens/state.ts';
import type { TicketEvent } from './events.ts';

/** What a ticket is for: signing web pages for the JS-SDK, or cards. */
export const TICKET_TYPES = ['jsapi', 'wx_card'] as const;

/** A type of ticket, by WeChat's name. */
export type TicketType = (typeof TICKET_TYPES)[number];

/** Names one ticket among all: an app has at most one of each type. */
export interface TicketKey {
  readonly appId: string;
  readonly type: TicketType;
}

/** WeChat, as far as tickets go. */
export interface TicketApi {
  /**
   * One call of `/cgi-bin/ticket/getticket`. Rejects with an UpstreamError and with nothing else; its reason is TOKEN_REFUSED
   * where WeChat refuses the token. When `signal` aborts, it gives up at once.
   */
  fetchTicket(type: TicketType, token: string, signal: AbortSignal): Promise<Grant>;
}

/** The tokens that tickets are fetched with: the registry's. */
export interface TicketTokens {
  /** Takes note of a clock that jumped. */
  catchUp(): void;
  /** Throws APP_NOT_FOUND unless the app is configured. */
  requireApp(appId: string): void;
  get(appId: string, options: { signal: () => AbortSignal }): TokenState | Promise<TokenState>;
  forceRefresh(appId: string, rejected: Rejected, signal: AbortSignal): Promise<{ readonly state: TokenState }>;
}

/** One ticket's record in the store, written as a whole. Times are wall-clock milliseconds since 1970. */
export interface StoredTicket extends TicketKey {
  /** Null: there has never been one, or it is over. */
  readonly ticket: StoredToken | null;
  /** Calls of getticket: `mints` counts them, as those that mint tokens are counted. */
  readonly budget: Budget;
  /** When WeChat was last asked; 0: never. */
  readonly lastCallTime: number;
  /** Why WeChat's last answer was none; null: it was one. */
  readonly trouble: Trouble | null;
}

/**
 * Where tickets survive a restart, and where replicas find one another's. A new ticket does not end the one before, so nothing is
 * lost where two are fetched, and no compare-and-set is needed: a claim saves calls, and nothing depends on it.
 * Each call rejects when the store does not answer, or where a record is sealed by a key that is not held.
 */
export interface TicketStore {
  /** Every record. */
  load(): Promise<readonly StoredTicket[]>;
  read(key: TicketKey): Promise<StoredTicket | undefined>;
  /** Replaces the record; durable once it resolves. Saves of one ticket by one process never overlap. */
  save(record: StoredTicket): Promise<void>;
  /** Takes the right to fetch this ticket for `ms`, unless another owner has it. A store of one process gives it always. */
  claim(key: TicketKey, owner: string, ms: number): Promise<boolean>;
  /** Gives the right back, where it is still this owner's. */
  release(key: TicketKey, owner: string): Promise<void>;
}

/** What keeping tickets needs of the world. */
export interface TicketDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly timeline: Timeline;
  readonly settings: Settings;
  readonly store: TicketStore;
  readonly wechat: TicketApi;
  readonly tokens: TicketTokens;
  /** The name of this process among replicas; empty: it shares nothing. */
  readonly owner: string;
  /** Told of everything worth a log line or a metric, of the store too. It must not throw. */
  readonly observe: (event: TicketEvent | BrokerEvent) => void;
}
