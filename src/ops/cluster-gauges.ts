import type { ClusterStatus } from '../core/cluster/status.ts';

/**
 * How a replica sees its cluster, in Prometheus' text format. Sums only: which app it is that is unusual is for
 * `lingpai status` to say, and the log.
 */
export function formatClusterGauges({ replica, storeAvailable, storeAgeMs, replicas, apps }: ClusterStatus): string {
  let owned = 0;
  let provisional = 0;
  let open = 0;
  const leases: number[] = [];
  for (const { owner, owedTime, intents } of apps) {
    if (owner === replica) owned++;
    if (owedTime !== null) provisional++;
    for (const intent of intents) {
      if (intent.kind === 'open') open++;
      else if (intent.replica === replica) leases.push(intent.ageMs);
    }
  }
  const alive = replicas.filter((each) => each.alive).length;
  const oldestMs = leases.reduce((oldest, ageMs) => Math.max(oldest, ageMs), 0);
  return [
    gauge('replicas_alive', 'Replicas that this one knows to live, itself included.', alive),
    gauge('store_up', '1 while the store that the replicas share answers polls, else 0.', storeAvailable ? 1 : 0),
    gauge('store_age_seconds', 'Since the last poll of that store that succeeded.', storeAgeMs / 1000),
    gauge('apps_owned', 'Apps that this replica refreshes on schedule.', owned),
    gauge('leases_held', 'Apps for which this replica is minting, while no other may.', leases.length),
    gauge('lease_age_seconds', 'Age of the oldest of these leases; 0 without any.', oldestMs / 1000),
    gauge('intents_open', 'Mints of any replica of which nobody knows what became.', open),
    gauge('apps_provisional', 'Apps that a confirming mint is owed.', provisional),
  ].join('\n\n');
}

function gauge(name: string, help: string, value: number): string {
  return [`# HELP lingpai_cluster_${name} ${help}`, `# TYPE lingpai_cluster_${name} gauge`]
    .concat(`lingpai_cluster_${name} ${value}`)
    .join('\n');
}
