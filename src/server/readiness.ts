import type { TokenState } from '../core/tokens/state.ts';

/** What `/readyz` tells. Field names are as in the protos. */
export interface Readiness {
  readonly ready: boolean;
  /** False before the start is complete and once the broker drains. */
  readonly serving: boolean;
  /** The apps without a token to hand out. */
  readonly apps: readonly { readonly app_id: string; readonly status: string; readonly status_reason: string }[];
}

/** The broker is ready when it serves and every app has a token to hand out. */
export function readiness(states: Iterable<TokenState>, serving: boolean): Readiness {
  const apps = [...states]
    .filter(({ current }) => current === null)
    .map(({ appId, status, statusReason }) => ({ app_id: appId, status, status_reason: statusReason }));
  return { ready: serving && apps.length === 0, serving, apps };
}
