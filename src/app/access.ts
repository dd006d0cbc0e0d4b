import type { Config } from '../config/config.ts';
import { type AccessMode, accessMode } from '../config/exposure.ts';
import { CallerLimiter } from '../core/access/caller-limiter.ts';
import { Policy } from '../core/access/policy.ts';
import type { Clock } from '../core/kernel/clock.ts';

/** Who may do what, and how much of it, by the configuration that is in use. */
export interface AccessInUse {
  /** How callers are treated: it stays until a restart. */
  readonly mode: AccessMode;
  /** The rules; with another configuration it is another object. */
  readonly policy: Policy;
  /** The same one throughout: what callers have open goes on to count. */
  readonly limiter: CallerLimiter;
  /** Takes another configuration into use, where it treats callers alike: else nothing changes. */
  take(next: Config): void;
}

/** Makes rules and limits of a configuration. */
export function createAccess(config: Config, clock: Pick<Clock, 'monotonic'>): AccessInUse {
  const mode = accessMode(config);
  let policy = policyOf(config);
  const limiter = new CallerLimiter(limitsOf(config), clock);
  return {
    mode,
    get policy() {
      return policy;
    },
    limiter,
    take(next) {
      if (accessMode(next) !== mode) return;
      policy = policyOf(next);
      limiter.configure(limitsOf(next));
    },
  };
}

function policyOf({ access }: Config): Policy {
  return access === null || access === 'open' ? Policy.OPEN : new Policy(access);
}

function limitsOf({ access }: Config) {
  return access === null || access === 'open' ? null : access.limits;
}
