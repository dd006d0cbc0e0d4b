import type { Clock, Random } from '../kernel/clock.ts';
import type { Reason, UpstreamAnswer } from '../kernel/errors.ts';
import type { BrokerEvent } from './events.ts';

/** WeChat's two token endpoints: `/cgi-bin/token` mints at each call, `/cgi-bin/stable_token` reads. */
export type IssuerKind = 'classic' | 'stable';

/** One configured WeChat app. */
export interface App {
  readonly appId: string;
  /** The AppSecret. The core only hands it on. */
  readonly secret: string;
  readonly issuer: IssuerKind;
}

/**
 * What to ask of a token endpoint.
 * `classic` mints. `stable` reads, and mints only near the end of the token's life. `stable_force` is `force_refresh: true`.
 */
export type TokenCall = 'classic' | 'stable' | 'stable_force';

/** A well-formed answer of a token endpoint. */
export interface Grant {
  readonly value: string;
  /** The first 12 hexadecimal digits of the value's SHA-256. */
  readonly id: string;
  /** WeChat's `expires_in`, in milliseconds, more than 0. */
  readonly lifetimeMs: number;
}

/** WeChat's opinion of a token. `errcode` is 40001, 40014 or 42001 where it refuses it. */
export type Verdict = { readonly accepted: true } | { readonly accepted: false; readonly errcode: number };

/** WeChat, as far as tokens go. Each call rejects with an UpstreamError and with nothing else. */
export interface WeChat {
  /** One call of a token endpoint. When `signal` aborts, it gives up at once; the call may have taken effect all the same. */
  fetchToken(app: App, call: TokenCall, signal: AbortSignal): Promise<Grant>;
  /** Asks whether a token works, by a cheap call that changes nothing. */
  probe(token: string, signal: AbortSignal): Promise<Verdict>;
}

/** A token as it is stored. Times are wall-clock milliseconds since 1970. */
export interface StoredToken {
  readonly value: string;
  readonly id: string;
  readonly issueTime: number;
  /** End of life; for a previous token, end of its grace. */
  readonly expireTime: number;
}

/** One app's record in the store, written as a whole. */
export interface StoredApp {
  readonly appId: string;
  readonly issuer: IssuerKind;
  /** The last generation published; 0 when there has never been a token. */
  readonly generation: number;
  readonly current: StoredToken | null;
  readonly previous: StoredToken | null;
  readonly budget: Budget;
  /** When a mint was last tried, in wall-clock milliseconds; 0: never. */
  readonly lastMintTime: number;
  /** When a mint outside the schedule (report, probe, operator) was last tried: `cooldown` counts from it; 0: never. */
  readonly lastForcedTime: number;
  /** How many mints were begun since `current` came whose outcome is not recorded: each may have replaced it. */
  readonly openMints: number;
  /** What replicas share beside it; absent where one process owns the store. */
  readonly shared?: SharedPart | undefined;
}

/** What replicas that share a store tell one another of an app. Times are milliseconds since 1970 by the store's clock. */
export interface SharedPart {
  /** When `current` was stored. */
  readonly commitTime: number;
  /** Counts mint attempts across replicas; an attempt's epoch is its id. */
  readonly epoch: number;
  /** Mints that were begun and of which no outcome is recorded, oldest first. `openMints` is their number. */
  readonly intents: readonly Intent[];
  /** The confirming mint that is due because tokens were minted in an unknown order; null: none is. */
  readonly pendingConfirmation: PendingConfirmation | null;
  /** Whether WeChat refuses `current`. */
  readonly dead: boolean;
  /** What an operator should know although the token is good; empty: nothing. */
  readonly warning: string;
  /** Why the last refresh failed; null: it did not. */
  readonly trouble: Trouble | null;
}

/** A mint attempt of a replica: written before the call, removed with its outcome. */
export interface Intent {
  readonly epoch: number;
  readonly replica: string;
  readonly time: number;
  /** Its replica has given up waiting for WeChat's answer, and the request may still arrive there. */
  readonly orphaned: boolean;
}

/** A confirming mint that is due. */
export interface PendingConfirmation {
  /** The epoch in which it became due, or did so again: only a later attempt, alone, confirms. */
  readonly epoch: number;
  /** When it is due. */
  readonly time: number;
}

/** A refresh that failed, as other replicas show it. */
export interface Trouble {
  /** Failures in a row. */
  readonly failures: number;
  /** When it failed last. */
  readonly time: number;
  /** When it is tried again. */
  readonly retryTime: number;
  readonly reason: Reason;
  readonly message: string;
  readonly answer: UpstreamAnswer | null;
}

/** What an app has spent of its daily budgets. */
export interface Budget {
  /** Days since 1970 in WeChat's time zone, counted from its reset hour. */
  readonly day: number;
  /** Calls that minted, or may have. */
  readonly mints: number;
  /** Calls with `force_refresh: true`. */
  readonly forced: number;
}

/** Where records survive a restart. */
export interface Store {
  /** Every record. Rejects when the store cannot be read. */
  load(): Promise<readonly StoredApp[]>;
  /** Replaces the app's record; durable once it resolves. Saves of one app never overlap. */
  save(app: StoredApp): Promise<void>;
  /** Closes the store. No call follows. */
  close(): Promise<void>;
}

/** How the broker behaves. Durations are in milliseconds. Validated where the configuration is read. */
export interface Settings {
  /** The deadline of one call to WeChat. */
  readonly timeoutMs: number;
  /** How long WeChat honours the token before the current one. */
  readonly overlapMs: number;
  /** The hour (0 to 23) of Asia/Shanghai at which WeChat's daily quotas reset. */
  readonly quotaResetHour: number;
  /** The share of a classic token's life after which it is replaced, 0 to 1. */
  readonly classicAt: number;
  /** The pause between reads near the end of a stable token's life. */
  readonly stablePollMs: number;
  /** The least time between mints that callers cause. */
  readonly cooldownMs: number;
  /** The pause between the broker's probes of its own tokens; 0: it does not probe. */
  readonly probeIntervalMs: number;
  /** Mints a day and app. */
  readonly dailyBudget: number;
  /** Calls with `force_refresh: true` a day and app. */
  readonly forceDailyBudget: number;
  /** The longest silence on a watch. */
  readonly heartbeatMs: number;
  /** How many watches may be open at once. */
  readonly maxWatchers: number;
}

/** What keepers need of the world. */
export interface Deps {
  readonly clock: Clock;
  readonly random: Random;
  readonly wechat: WeChat;
  /** Told of everything worth a log line or a metric. It must not throw. */
  readonly observe: (event: BrokerEvent) => void;
}
