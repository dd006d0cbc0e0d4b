import type { Clock, Timer } from '../kernel/clock.ts';
import { LingpaiError } from '../kernel/errors.ts';
import {
  accessDeniedError,
  auditUnavailableError,
  callerLimitedError,
  credentialsError,
  LOST,
  noRuleError,
  pathDeniedError,
} from './errors.ts';
import { type KnownCaller, KnownCallers } from './known-callers.ts';
import type { Audit, AuditEvent, AuditedCall, CredentialFault } from './ports.ts';
import type { Principal } from './principal.ts';
import type { AccessParts } from './rights.ts';
import type { Verb } from './verbs.ts';

/** What an Access needs of the world. */
export interface AccessDeps {
  readonly clock: Clock;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
  readonly audit?: Audit | undefined;
  /** Told of a call or a stream that was refused since its caller uses more than it may. */
  readonly onLimited?: ((caller: Principal) => void) | undefined;
}

/** Something that goes on, and is looked at whenever its caller's rights may have changed. */
export interface Follower {
  /** Called when rules or apps have changed. Throws the LingpaiError with which it ends, where it may not go on. */
  check(): void;
  /** Ends it: with a LingpaiError, or with whatever else `check` has thrown, which is a fault. */
  end(error: unknown): void;
}

interface Followed extends Disposable {
  readonly call: AuditedCall;
  readonly follower: Follower;
  readonly isStream: boolean;
}

/** What may have changed since all was looked at last: time alone changes no rules. */
type Change = 'credentials' | 'rights';

/** How often credentials are looked at that time may have made bad. */
export const LOOK_MS = 2_000;
/** How many that go on are looked at before others have their turn, and for how long: ending a stream takes some 20 us. */
const SLICE = 64;
const SLICE_MS = 4;
/** When a stream may have ended. */
const STREAM_RETRY_MS = 5_000;

/**
 * Who may do what, now. Rules, limits and credentials are replaced while calls go on: what is asked is answered by the newest, and
 * what goes on, such as streams, is looked at again within `LOOK_MS` and a few turns of the loop. Without parts everyone may do
 * everything, and that lasts: what goes on is not known then.
 */
export class Access {
  readonly #deps: AccessDeps;
  readonly #followed = new Set<Followed>();
  readonly #known: KnownCallers;
  #parts: AccessParts | undefined;
  #timer: Timer | undefined;
  #change: Change | undefined;
  #isLooking = false;

  constructor(deps: AccessDeps, parts?: AccessParts) {
    this.#deps = deps;
    this.#parts = parts;
    this.#known = new KnownCallers(deps.clock);
  }

  /** Everyone may do everything, for good: it neither counts nor looks at anything. */
  static open(clock: Clock): Access {
    return new Access({ clock, pause: () => Promise.resolve() });
  }

  /** Whether everyone may do everything. */
  get isOpen(): boolean {
    return this.#parts === undefined;
  }

  /** How many calls and streams go on that are looked at. */
  get followed(): number {
    return this.#followed.size;
  }

  /** Takes other rules, limits or credentials into use, those that are given, and looks at all that goes on. */
  replace(parts: Partial<AccessParts>): void {
    if (this.#parts) this.#parts = { ...this.#parts, ...parts };
    this.changed();
  }

  /** Rules or credentials have changed in place, or the apps have. */
  changed(): void {
    this.#lookFor('rights');
  }

  /** Whether a caller, or its credential, is blocked. */
  isBlocked(principal: Principal): boolean {
    return this.#parts?.rights.isBlocked(principal) ?? false;
  }

  /**
   * Lets a caller in whose credential was found good, for one call. Throws CREDENTIALS_INVALID where it is blocked, and
   * CALLER_LIMITED where it calls too often.
   */
  admit(principal: Principal, peer: () => string): void {
    const parts = this.#parts;
    if (!parts) return;
    if (this.isBlocked(principal)) {
      this.#disbelieved(principal, peer(), 'blocked');
      throw credentialsError('CREDENTIALS_INVALID');
    }
    this.#known.used(principal);
    const waitMs = parts.limiter.call(principal.name);
    if (waitMs > 0) throw this.#limited(principal, 'calls', waitMs);
  }

  /** Whether the caller may do this with this app, which need not exist. */
  may({ caller }: AuditedCall, verb: Verb, appId: string): boolean {
    return this.#parts?.rights.may(caller, verb, appId) ?? true;
  }

  /** Whether the caller may do this with every app, those to come included. */
  mayAll({ caller }: AuditedCall, verb: Verb): boolean {
    return this.#parts?.rights.mayAll(caller, verb) ?? true;
  }

  /** Throws ACCESS_DENIED unless the caller may do this with this app; AUDIT_UNAVAILABLE where it is to be recorded and cannot be. */
  require(call: AuditedCall, verb: Verb, appId: string): void {
    if (!this.may(call, verb, appId)) throw this.#denied(call, verb, appId);
    this.#requireAudit(verb);
  }

  /** Throws ACCESS_DENIED unless the caller may reach this path of WeChat's API for this app, with the verb `call`. */
  requirePath(call: AuditedCall, appId: string, path: string): void {
    this.require(call, 'call', appId);
    const paths = this.#parts?.rights.paths(call.caller, appId);
    if (!paths || paths.some((beginning) => path.startsWith(beginning))) return;
    this.record({ event: 'access.denied', call, verb: 'call', appId });
    throw pathDeniedError(call.caller, appId, path);
  }

  /** Throws ACCESS_DENIED unless the caller may do this with every app. */
  requireAll(call: AuditedCall, verb: Verb): void {
    if (!this.mayAll(call, verb)) throw this.#denied(call, verb, '*');
    this.#requireAudit(verb);
  }

  /** Throws ACCESS_DENIED unless some rule names the caller. `verb` is what it asked to do, for the audit log. */
  requireRule(call: AuditedCall, verb: Verb): void {
    if (this.#parts?.rights.hasRule(call.caller) ?? true) return;
    this.record({ event: 'access.denied', call, verb, appId: '*' });
    throw noRuleError(call.caller);
  }

  /**
   * After a wait, such as for the body of a call: throws CREDENTIALS_INVALID or CREDENTIALS_EXPIRED where the credential that the
   * caller was let in by is good no longer.
   */
  requireCredential({ caller, peer }: AuditedCall): void {
    const fault = this.#fault(caller);
    if (!fault) return;
    this.#disbelieved(caller, peer, LOST[fault]);
    throw credentialsError(fault);
  }

  /** After a wait: as `require`, and as `requireCredential`. */
  requireStill(call: AuditedCall, verb: Verb, appId: string): void {
    this.requireCredential(call);
    this.require(call, verb, appId);
  }

  /**
   * Ends a call that goes on once its caller's credential is good no longer, or `check` throws. Dispose of it when the call is
   * over.
   */
  follow(call: AuditedCall, follower: Follower, isStream = false): Disposable {
    if (!this.#parts) return NOTHING;
    const followed: Followed = {
      call,
      follower,
      isStream,
      [Symbol.dispose]: () => {
        this.#followed.delete(followed);
        if (this.#followed.size > 0) return;
        this.#timer?.cancel();
        this.#timer = undefined;
      },
    };
    this.#followed.add(followed);
    this.#timer ??= this.#deps.clock.schedule(LOOK_MS, this.#tick);
    return followed;
  }

  /** As `follow`, for a stream: they are counted. Throws CALLER_LIMITED where the caller has too many. */
  open(call: AuditedCall, follower: Follower): Disposable {
    if (!this.#parts) return NOTHING;
    const { caller } = call;
    const release = this.#parts.limiter.open(caller.name);
    if (!release) throw this.#limited(caller, 'streams', STREAM_RETRY_MS);
    const closed = this.#known.opened(caller);
    const followed = this.follow(call, follower, true);
    let isOpen = true;
    return {
      [Symbol.dispose]() {
        if (!isOpen) return;
        isOpen = false;
        release();
        closed();
        followed[Symbol.dispose]();
      },
    };
  }

  /** Who has called lately. */
  callers(): KnownCaller[] {
    return this.#known.list();
  }

  /** Tells the audit log. */
  record(event: AuditEvent): void {
    this.#deps.audit?.record(event);
  }

  /** Whether anyone is told by `record`. */
  get isAudited(): boolean {
    return this.#deps.audit !== undefined;
  }

  #disbelieved({ name, method, credentialId }: Principal, peer: string, cause: string): void {
    this.record({ event: 'authn.failed', peer, method, cause, caller: name, keyId: credentialId });
  }

  #denied(call: AuditedCall, verb: Verb, appId: string): LingpaiError {
    this.record({ event: 'access.denied', call, verb, appId });
    return accessDeniedError(call.caller, verb, appId);
  }

  #requireAudit(verb: Verb): void {
    if ((verb === 'refresh' || verb === 'admin') && this.#deps.audit?.writable === false) throw auditUnavailableError();
  }

  #limited(caller: Principal, what: 'calls' | 'streams', retryAfterMs: number): LingpaiError {
    this.#deps.onLimited?.(caller);
    return callerLimitedError(what, retryAfterMs);
  }

  #fault(caller: Principal): CredentialFault | undefined {
    const parts = this.#parts;
    if (parts?.rights.isBlocked(caller)) return 'CREDENTIALS_INVALID';
    return parts?.credentials.fault(caller);
  }

  readonly #tick = (): void => {
    this.#timer = this.#followed.size > 0 ? this.#deps.clock.schedule(LOOK_MS, this.#tick) : undefined;
    this.#lookFor('credentials');
  };

  #lookFor(change: Change): void {
    if (this.#change !== 'rights') this.#change = change;
    if (!this.#isLooking) void this.#look();
  }

  /** Looks at all that goes on, in slices, and once more where a change came meanwhile: who was looked at before missed it. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      await this.#lookAtAll();
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookAtAll(): Promise<void> {
    const { clock, pause } = this.#deps;
    while (this.#change) {
      const change = this.#change;
      this.#change = undefined;
      let left = SLICE;
      let until = clock.monotonic() + SLICE_MS;
      for (const followed of this.#followed) {
        this.#lookAt(followed, change);
        if (--left > 0 && clock.monotonic() < until) continue;
        await pause();
        left = SLICE;
        until = clock.monotonic() + SLICE_MS;
      }
    }
  }

  #lookAt(followed: Followed, change: Change): void {
    const { call, follower, isStream } = followed;
    try {
      const fault = this.#fault(call.caller);
      if (fault) throw credentialsError(fault);
      if (change === 'rights') follower.check();
    } catch (error) {
      followed[Symbol.dispose]();
      const outcome = error instanceof LingpaiError ? error.reason : 'INTERNAL';
      if (isStream) this.record({ event: 'stream.ended', call, outcome });
      follower.end(error);
    }
  }
}

const NOTHING: Disposable = { [Symbol.dispose]() {} };
