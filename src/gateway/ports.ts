import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Access } from '../core/access/access.ts';
import type { Principal } from '../core/access/principal.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { TicketType } from '../core/tickets/ports.ts';
import type { Rejected } from '../core/tokens/rejected.ts';
import type { ForceOutcome, Token, TokenState } from '../core/tokens/state.ts';
import type { Forwarding } from './forwarded.ts';
import type { Paths } from './paths.ts';

/** Who shows a stand-in, and for which app it is. */
export interface Bearer {
  readonly caller: Principal;
  readonly appId: string;
}

/** Finds out who calls. */
export interface Callers {
  /** By what stands where WeChat wants an AppSecret. Throws, or rejects with, a LingpaiError. */
  bySecret(secret: string, socket: Socket): Principal | Promise<Principal>;
  /** A stand-in for this app, for the caller that showed this secret; undefined: there can be none for it. */
  standInFor(caller: Principal, secret: string, appId: string): string | undefined;
  /** By a stand-in. Throws a LingpaiError: CREDENTIALS_MISSING where something else is to be shown with it. */
  byStandIn(text: string, socket: Socket): Bearer;
}

/** The tokens of apps, as `Registry` has them. */
export interface TokenSource {
  /** Throws APP_NOT_FOUND unless the app is configured. */
  requireApp(appId: string): void;
  get(appId: string, options: { signal: () => AbortSignal }): TokenState | Promise<TokenState>;
  forceRefresh(
    appId: string,
    rejected: Rejected | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly state: TokenState; readonly outcome: ForceOutcome }>;
}

/** What a call came to, for metrics. */
export interface GatewayCall {
  /** Undefined: nobody found out, or nobody may know. */
  readonly appId: string | undefined;
  /** Out of the closed list of `Paths`. */
  readonly path: string;
  /** Null: the answer has none, or there was no answer. */
  readonly errcode: number | null;
  readonly cured: boolean;
  /** What the gateway added to WeChat's own time, in milliseconds; undefined: WeChat was not asked. */
  readonly addedMs: number | undefined;
}

/** What the gateway is made of. */
export interface GatewayDeps {
  /** What it hands out as access_token. */
  readonly tokens: 'standin' | 'real';
  readonly callers: Callers;
  readonly access: Access;
  readonly broker: TokenSource;
  readonly forwarder: Forwarding;
  /** Undefined: WeChat is asked for each ticket. */
  readonly tickets?: TicketSource | undefined;
  readonly paths: Paths;
  readonly clock: Clock;
  /** How long WeChat honours the token before the current one. */
  readonly overlapMs: number;
  /** Told of each call that has ended. */
  readonly observe: (call: GatewayCall) => void;
  /** Told why a call failed for which WeChat was asked, or was to be; `path` is out of the closed list of `Paths`. */
  readonly failed: (call: { readonly appId: string; readonly path: string; readonly reason: string }) => void;
  /** Told of a fault of ours. */
  readonly report: (error: unknown) => void;
}

/** The tickets of apps, as `Tickets` has them. */
export interface TicketSource {
  get(appId: string, type: TicketType, options: { signal: () => AbortSignal }): Token | Promise<Token>;
}

/** A request that has come to the gateway, with its head. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Has the body sent, where the caller waits to be asked for it. */
  readonly proceed: () => void;
}
