import type { Credentials } from './ports.ts';
import type { Principal } from './principal.ts';
import type { Verb } from './verbs.ts';

/** What the rules of a configuration say. */
export interface Rights {
  /** Whether a caller may do this with this app, which may be none that is configured. */
  may(principal: Principal, verb: Verb, appId: string): boolean;
  /** Whether a caller may do this with every app, those to come included. */
  mayAll(principal: Principal, verb: Verb): boolean;
  /** The beginnings of WeChat's paths that a caller may `call` for an app; undefined: all; empty: none. */
  paths(principal: Principal, appId: string): readonly string[] | undefined;
  /** Whether any rule names a caller. */
  hasRule(principal: Principal): boolean;
  /** Whether a caller, or its credential, is blocked. */
  isBlocked(principal: Principal): boolean;
}

/** What one caller may use of the broker. */
export interface Limiter {
  /** Takes one call of the caller with this name and returns 0; or returns in how many milliseconds the next may be made. */
  call(name: string): number;
  /** Counts a stream that opens, and returns what is to be called when it has ended; undefined: there are too many. */
  open(name: string): (() => void) | undefined;
}

/** What is decided by. */
export interface AccessParts {
  readonly rights: Rights;
  readonly limiter: Limiter;
  readonly credentials: Credentials;
}
