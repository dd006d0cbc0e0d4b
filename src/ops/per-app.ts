import type { Counter } from 'prom-client';

/** Drops the series of counters whose label `app_id` names any other app than these. */
export async function keepOnlyApps(counters: readonly Counter[], appIds: ReadonlySet<string>): Promise<void> {
  for (const counter of counters)
    for (const { labels } of (await counter.get()).values)
      if (!appIds.has(String(labels['app_id']))) counter.remove(labels);
}
