import { Authenticator } from '../access/authenticator.ts';
import { fetchJwks } from '../access/fetch-jwks.ts';
import { type GatewayCallers, knownCallers, localCallers } from '../access/gateway-callers.ts';
import type { Config } from '../config/config.ts';
import { type AccessMode, accessMode, accessRules } from '../config/exposure.ts';
import { Access } from '../core/access/access.ts';
import { CallerLimiter } from '../core/access/caller-limiter.ts';
import { Policy } from '../core/access/policy.ts';
import type { Audit } from '../core/access/ports.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { AccessMetrics, KnownKey } from '../ops/access-metrics.ts';
import type { Logger } from '../ops/log.ts';
import type { Authenticate } from '../transport/head.ts';

/** What access is made of besides its configuration. */
export interface AccessSources {
  readonly clock: Clock;
  readonly audit: Audit;
  readonly metrics: Pick<AccessMetrics, 'believed' | 'refused' | 'denied' | 'limited'>;
  readonly logger: Logger;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
}

/** How callers are known, and who may do what, by the configuration that is in use. */
export interface AccessInUse extends Disposable {
  /** How callers are treated: it stays until a restart. */
  readonly mode: AccessMode;
  readonly access: Access;
  /** Undefined: everyone is `local`. */
  readonly authenticate: Authenticate | undefined;
  /** Finds out who calls through the gateway. */
  readonly gatewayCallers: GatewayCallers;
  /** The keys of callers. */
  readonly keys: readonly KnownKey[];
  /**
   * Takes another configuration into use, where it treats callers alike: else nothing changes. Throws an Error that says what
   * cannot be used, and then nothing has changed either.
   */
  take(next: Config): void;
}

/** Access by a configuration. Throws an Error that says what of it cannot be used. */
export function createAccess(config: Config, { clock, audit, metrics, logger, pause }: AccessSources): AccessInUse {
  const mode = accessMode(config);
  const configured = accessRules(config);
  if (configured === null) {
    const access = Access.open(clock);
    return {
      mode,
      access,
      authenticate: undefined,
      gatewayCallers: localCallers,
      keys: [],
      take() {},
      [Symbol.dispose]() {},
    };
  }
  const counting: Audit = {
    record(event) {
      if (event.event === 'access.denied') metrics.denied(event.call.caller.name, event.verb);
      audit.record(event);
    },
    get writable() {
      return audit.writable;
    },
  };
  const authenticator = new Authenticator(configured, {
    clock,
    fetchJwks,
    onFailure: (failure) => audit.record({ event: 'authn.failed', ...failure }),
    onResult(method, result, principal) {
      // Who is blocked is known, and believed all the same not.
      if (principal && access.isBlocked(principal)) metrics.refused(method, 'invalid');
      else if (principal) metrics.believed(principal);
      else if (result !== 'ok') metrics.refused(method, result);
    },
    onFetch(issuer, error) {
      if (error === undefined) logger.debug({ issuer }, 'keys of an issuer fetched');
      else logger.warn({ issuer, error }, 'keys of an issuer cannot be fetched; those that are known stay in use');
    },
  });
  const limiter = new CallerLimiter(configured.limits, clock);
  const onLimited = ({ name }: { readonly name: string }) => metrics.limited(name);
  const parts = { rights: new Policy(configured), limiter, credentials: authenticator };
  const access = new Access({ clock, pause, audit: counting, onLimited }, parts);
  return {
    mode,
    access,
    authenticate: (head) => authenticator.authenticate(head),
    gatewayCallers: knownCallers(authenticator),
    get keys() {
      return authenticator.keys.map(({ name, id, expires }) => ({ caller: `key:${name}`, id, expireTime: expires }));
    },
    take(next) {
      const rules = accessRules(next);
      if (rules === null) return;
      authenticator.reconfigure(rules);
      limiter.configure(rules.limits);
      access.replace({ rights: new Policy(rules) });
    },
    [Symbol.dispose]() {
      authenticator[Symbol.dispose]();
    },
  };
}
