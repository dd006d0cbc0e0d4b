import type { Reason, UpstreamAnswer } from '../kernel/errors.ts';
import type { Channel, Message, Sent } from './message.ts';

/** A message on its way: with the permit and the id that it is sent with. */
export interface Delivery {
  readonly message: Message;
  /** The form_id or prepay_id to send; empty: none. Channel mini_program. */
  readonly formId: string;
  /** The same at each attempt of one message, so that WeChat sends it once in 10 minutes. Channel official_account. */
  readonly clientMsgId: string;
}

/** WeChat's four message calls. */
export interface MessageApi {
  /**
   * One attempt. Rejects with an UpstreamError and nothing else: reason TOKEN_REFUSED when WeChat refuses the token,
   * `effect` 'unsent' or 'refused' when the message was certainly not sent, 'unknown' otherwise.
   */
  send(delivery: Delivery, token: string, signal: AbortSignal): Promise<Sent>;
}

/** Where a permit comes from: how many messages it is good for, and for how long. */
export type PermitKind = 'form_id' | 'prepay_id' | 'consent';

/** A permit as it is deposited. Times are wall-clock milliseconds since 1970. */
export interface NewPermit {
  readonly toUser: string;
  readonly kind: PermitKind;
  /** Unique among the app's permits of its kind. */
  readonly value: string;
  /** For a consent; otherwise empty. */
  readonly templateId: string;
  readonly collectTime: number;
  /** Null: never. */
  readonly expireTime: number | null;
  /** How many messages it is good for. */
  readonly uses: number;
}

/** A permit that a message has reserved. */
export interface DrawnPermit {
  readonly kind: PermitKind;
  readonly value: string;
  /**
   * It came back from a message of unknown fate (settled as unknown and `returned`, recovered, or purged), and so may have
   * been used: that WeChat calls it used proves nothing about the message that has it now. Absent: no.
   */
  readonly doubtful?: boolean;
}

/** Which permit a message wants. */
export type PermitWish =
  /** None. */
  | { readonly kind: 'none' }
  /**
   * This one (a form_id or prepay_id out of the request), where the ledger has it; the message is sent in any case, unless
   * other messages have reserved all its uses (`no_permit`): whose it was could never be told.
   */
  | { readonly kind: 'named'; readonly value: string }
  /** The user's oldest usable form or payment; without one the message is not sent. */
  | { readonly kind: 'form'; readonly toUser: string }
  /** The user's oldest consent to this template; the message is sent in any case. */
  | { readonly kind: 'consent'; readonly toUser: string; readonly templateId: string };

/** What became of a message, as it is kept for those who repeat its idempotency key. */
export type Outcome =
  | { readonly kind: 'sent'; readonly sent: Sent }
  | {
      readonly kind: 'refused';
      readonly reason: Reason;
      readonly message: string;
      readonly answer: UpstreamAnswer | null;
    }
  | { readonly kind: 'unknown' };

/** A message that is about to be sent. */
export interface NewSend {
  /** Unique; the message's client_msg_id. */
  readonly sendId: string;
  /** The replica that sends it; empty where one process owns the store. */
  readonly owner: string;
  readonly appId: string;
  readonly channel: Channel['kind'];
  /** The idempotency key; empty: none, and nothing is kept once it is settled. */
  readonly key: string;
  /** A digest of all that makes two messages the same. */
  readonly digest: string;
  readonly now: number;
  /** Until when the key is kept. */
  readonly keyExpireTime: number;
  /** The app's quota: at most `limit` sends on `day` (days since 1970 in WeChat's time zone, as in `Budget`). */
  readonly quota: { readonly day: number; readonly limit: number };
  readonly permit: PermitWish;
}

/** A message whose idempotency key is looked up. */
export type KeyQuery = Pick<NewSend, 'appId' | 'key' | 'digest' | 'now'>;

/** What the ledger knows of an idempotency key that is kept. Of these only `unsettled` may lead to a call. */
export type KnownKey =
  /** The key was used for the same message, and this is what became of it. */
  | { readonly kind: 'settled'; readonly outcome: Outcome }
  /**
   * The key was used for the same message, which was begun and whose fate is unknown (its process died, or no answer
   * came), or is under way at its owner. The permit, where it had one, is still reserved for it.
   */
  | {
      readonly kind: 'unsettled';
      readonly sendId: string;
      /** The replica that began it; empty where it is known to be over, or where one process owns the store. */
      readonly owner: string;
      readonly startTime: number;
      readonly permit: DrawnPermit | null;
    }
  /** The key was used for another message. */
  | { readonly kind: 'key_reused' };

/** What the ledger says to a new send. Only `begun` and `unsettled` may lead to a call. */
export type Begun =
  | KnownKey
  /** It is recorded, its permit reserved, its quota spent. */
  | { readonly kind: 'begun'; readonly permit: DrawnPermit | null }
  | { readonly kind: 'over_quota' }
  | { readonly kind: 'no_permit' };

/** How a send ends. */
export interface Settlement {
  /** `freed`: as if it had never begun; its key may be used again and its quota is given back. */
  readonly outcome: Outcome | { readonly kind: 'freed' };
  /**
   * What becomes of the reserved permit. `spent`: one use fewer. `returned`: usable again. `void`: worthless, all its uses;
   * for a consent all of the user's consents to that template that were collected before the send began (the first
   * `MOST_OF_USER.voided`: what is left of more is voided by the next refusal). `held`: stays
   * reserved while the key is kept.
   */
  readonly permit: 'spent' | 'returned' | 'void' | 'held';
  readonly now: number;
}

/** Usable permits of one kind that expire together. */
export interface PermitTally {
  readonly kind: PermitKind;
  /** Days since 1970 in Asia/Shanghai; null: they do not expire. */
  readonly expireDay: number | null;
  readonly permits: number;
  readonly messages: number;
}

/** What became of permits. `full`: the app would have more than it may, and none was added. */
export type Deposit = { readonly deposited: number; readonly duplicates: number } | 'full';

/** An app's permits are counted by the ten minutes of the clock in which they expire. */
export const TALLY_SLOT_MS = 600_000;

/** So many permits of one user are counted, and voided at once. */
export const MOST_OF_USER = { counted: 10_000, voided: 500 } as const;

/**
 * The durable record of sends and permits. Each call is one transaction, durable once it resolves (a purge several); a call that rejects
 * has changed nothing (a purge what it had not come to). Rejects when it cannot be read or written.
 */
export interface Ledger {
  /**
   * Records that a message is about to be sent, or says why it may not be. The key is looked at first, then the quota, then
   * the permit: what is known of a key is answered also when there is no quota left.
   */
  begin(send: NewSend): Promise<Begun>;
  /** What is known of a key, as `begin` would say; undefined: nothing. Changes nothing. The key is not empty. */
  lookup(query: KeyQuery): Promise<KnownKey | undefined>;
  /** Has a message that an earlier permit did not carry (41028, 41029) use another: voids its permit and reserves the next. */
  redraw(sendId: string, wish: PermitWish, now: number): Promise<DrawnPermit | null>;
  /**
   * Records how a send ended. To be repeated after a failure: a send that is settled, and not as unknown, stays as it is,
   * and one that is not there does no harm.
   */
  settle(sendId: string, settlement: Settlement): Promise<void>;
  /**
   * Adds permits; says how many were new. `limit`: how many with uses left the app may have then, those among them that have
   * expired and are not purged. Undefined: as many as come.
   */
  deposit(appId: string, permits: readonly NewPermit[], limit?: number): Promise<Deposit>;
  /**
   * Counts usable permits of one user (of the first `MOST_OF_USER.counted`), or of all (undefined). Of all, those are left out
   * that expire within the ten minutes of the clock (10:00 to 10:09:59) in which `now` is.
   */
  count(appId: string, toUser: string | undefined, now: number): Promise<readonly PermitTally[]>;
  /**
   * Sends that a dead process (`owner`) left begun are now of unknown fate. Where one process owns the store it is to be
   * called once before the first `begin`, with whatever owner. Those with a key stay, their permits held; of the others nothing is kept and their permits are returned, since WeChat itself refuses
   * one that was used. Returns how many there were.
   */
  recover(now: number, owner: string): Promise<number>;
  /** Forgets expired keys (their held permits are returned) and expired permits. Returns how many of each. */
  purge(now: number): Promise<{ readonly keys: number; readonly permits: number }>;
}

/** How messages are limited. Per app. */
export interface MessageSettings {
  /** Messages a day. */
  readonly dailyQuota: number;
  /** Messages a second; 0: no limit. */
  readonly ratePerSecond: number;
  /** Messages under way at once. */
  readonly concurrency: number;
  /** Messages that may wait for their turn. */
  readonly maxWaiting: number;
  /** Permits with uses left. */
  readonly maxPermits: number;
  /** As in Settings. */
  readonly quotaResetHour: number;
  readonly timeoutMs: number;
}
