import type { Config } from '../config/config.ts';
import type { IssuerKind } from '../core/tokens/ports.ts';
import { systemClock } from '../ops/clock.ts';
import { createLogger } from '../ops/log.ts';
import { requireUnused } from '../store/copy.ts';
import { openStore } from './open-store.ts';

/** An app whose record no held key opens. `issuer` null: it is not configured. */
export interface SealedApp {
  readonly appId: string;
  readonly issuer: IssuerKind | null;
}

/**
 * Removes the records that no configured key opens from a store that no broker uses, if `confirm` says so; it is not asked where
 * there are none. Resolves with those that were removed. Rejects with what stands in the way.
 */
export async function forgetSealed(
  config: Config,
  options: {
    /** What errors call the store. */
    readonly name: string;
    readonly confirm: (apps: readonly SealedApp[]) => Promise<boolean>;
    readonly onWait: (name: string, ms: number) => void;
  },
): Promise<readonly SealedApp[]> {
  const { name, confirm, onWait } = options;
  const opened = await openStore(config, createLogger({ level: 'silent' }));
  try {
    await requireUnused({ name, opened }, { clock: systemClock, onWait });
    const issuers = new Map(config.apps.map(({ appId, issuer }) => [appId, issuer]));
    const apps = (await opened.sealing.sealedAway()).map((appId) => ({ appId, issuer: issuers.get(appId) ?? null }));
    if (apps.length === 0 || !(await confirm(apps))) return [];
    const removed = new Set(await opened.sealing.forget(apps.map(({ appId }) => appId)));
    return apps.filter(({ appId }) => removed.has(appId));
  } finally {
    await opened.close();
  }
}
