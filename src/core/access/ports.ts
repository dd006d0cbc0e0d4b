import type { Principal } from './principal.ts';
import type { Verb } from './verbs.ts';

/** One rule of the configuration: who may do what to which apps. A `*` at the end of a name stands for any rest. */
export interface Rule {
  readonly who: readonly string[];
  readonly may: readonly Verb[];
  readonly apps: readonly string[];
  /** What a caller with verb `call` may reach of WeChat's API, as prefixes; undefined: all. */
  readonly paths?: readonly string[];
}

/** What a caller may use of the broker. */
export interface CallerLimits {
  /** Calls a second. */
  readonly calls: number;
  /** Streams that are open at once. */
  readonly streams: number;
}

/** Rules and limits as they were configured: what no rule allows is denied. */
export interface AccessPolicy {
  readonly rules: readonly Rule[];
  /** Names of principals, or ids of credentials, that no rule helps. */
  readonly blocked: readonly string[];
  readonly limits: CallerLimits;
}

/** Why a caller is not believed. */
export type CredentialFault = 'CREDENTIALS_MISSING' | 'CREDENTIALS_INVALID' | 'CREDENTIALS_EXPIRED';

/** Knows which credentials are good, as keys, certificates and time change. */
export interface Credentials {
  /** Why a caller that was let in would not be let in now; undefined: it would. */
  fault(principal: Principal): CredentialFault | undefined;
}

/** What the audit log is told. It never holds a token value, a key, a secret or an openid. */
export type AuditEvent =
  /** A token was handed out, or a ticket, whose `kind` is its type. Many of them become one line with a count. */
  | {
      readonly event: 'token.read';
      readonly call: AuditedCall;
      readonly appId: string;
      readonly tokenId: string;
      readonly kind?: string;
    }
  | { readonly event: 'watch.opened' | 'watch.closed'; readonly call: AuditedCall; readonly appIds: readonly string[] }
  | {
      readonly event: 'token.reported' | 'token.refreshed';
      readonly call: AuditedCall;
      readonly appId: string;
      readonly tokenId: string | null;
      /** `REFRESHED`, or the reason of the error. */
      readonly outcome: string;
    }
  /** An operator asked WeChat something, or had it do something. `outcome`: `OK`, or the reason of the error. */
  | {
      readonly event: 'quota.read' | 'quota.cleared' | 'request.read' | 'token.probed';
      readonly call: AuditedCall;
      readonly appId: string;
      readonly outcome: string;
    }
  /** Messages were sent; many become one line with a count. */
  | { readonly event: 'messages.sent'; readonly call: AuditedCall; readonly appId: string; readonly outcome: string }
  /** WeChat was called through the gateway; `outcome` is its errcode, or `none`. Many become one line with a count. */
  | { readonly event: 'gateway.called'; readonly call: AuditedCall; readonly appId: string; readonly outcome: string }
  | { readonly event: 'access.denied'; readonly call: AuditedCall; readonly verb: Verb; readonly appId: string }
  /** Somebody was not believed; `cause` says why, in words that no caller gets. */
  | {
      readonly event: 'authn.failed';
      readonly peer: string;
      readonly method: string;
      readonly cause: string;
      /** Whose credential it is, where it is one that is known: it is blocked, or was good a moment ago. */
      readonly caller?: string;
      readonly keyId?: string | null;
    }
  | { readonly event: 'config.loaded'; readonly rules: number; readonly apps: number }
  | { readonly event: 'key.added' | 'key.revoked'; readonly caller: string; readonly keyId: string }
  /** A stream was ended since its caller lost a right. */
  | { readonly event: 'stream.ended'; readonly call: AuditedCall; readonly outcome: string }
  | { readonly event: 'store.resealed'; readonly keyId: string; readonly count: number };

/** The caller of an audited call. */
export interface AuditedCall {
  readonly caller: Principal;
  /** The address that it came from, without its port. */
  readonly peer: string;
}

/** Where decisions are recorded. */
export interface Audit {
  record(event: AuditEvent): void;
  /** False while the log cannot be written: what changes something for operators is refused then. */
  readonly writable: boolean;
}
