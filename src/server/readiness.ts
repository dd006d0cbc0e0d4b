import type { TokenState } from '../core/tokens/state.ts';

/** What `/readyz` tells. Field names are as in the protos. */
export interface Readiness {
  readonly ready: boolean;
  /** False before the start is complete, which takes an answer of the store, and once the broker drains. */
  readonly serving: boolean;
  /** The apps without a token to hand out; only where it was asked for them. */
  readonly apps?: readonly { readonly app_id: string; readonly status: string; readonly status_reason: string }[];
}

/**
 * The process is ready when it serves: one app's wrong secret takes no replica out of service, since the others have it
 * too. Where `states` are given, every app must have a token to hand out as well.
 */
export function readiness(serving: boolean, states?: Iterable<TokenState>): Readiness {
  if (!states) return { ready: serving, serving };
  const apps = [...states]
    .filter(({ current }) => current === null)
    .map(({ appId, status, statusReason }) => ({ app_id: appId, status, status_reason: statusReason }));
  return { ready: serving && apps.length === 0, serving, apps };
}
