import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Config } from '../config/config.ts';
import type { ClusterDeps } from '../core/cluster/cluster.ts';
import type { SharedStore } from '../core/cluster/ports.ts';
import { errorFields, type Logger } from '../ops/log.ts';

/** What makes a process one of several replicas. */
export interface ReplicaParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly store: SharedStore;
  /** Where it serves gRPC, once it does. */
  readonly address: () => string;
  /** Settles what a process left in the ledger. */
  readonly recover: (owner: string) => Promise<void>;
  /** Whether messages of this replica are under way. */
  readonly isBusy: () => boolean;
}

/** A name for this process that none before it had. */
export function newReplicaName(): string {
  return `${hostname()}-${randomBytes(4).toString('hex')}`;
}

/** The part of a replica among others. What one of them leaves in the ledger is settled by those that see it gone. */
export function asReplica(replica: string, parts: ReplicaParts): ClusterDeps {
  const { config, logger, store, address, recover, isBusy } = parts;
  return {
    store,
    replica,
    get address() {
      return address();
    },
    ...config.cluster,
    onDeath: (dead) =>
      recover(dead).catch((error) => {
        logger.warn({ ...errorFields(error), replica: dead }, 'messages of a dead replica are not settled yet');
        throw error;
      }),
    async onLeave() {
      if (isBusy()) throw new Error('messages are under way');
      await recover(replica);
    },
  };
}

/** An address by which other machines may find this one, where it listens on all of its own. */
export function reachable(address: string): string {
  return address.replace(/^(0\.0\.0\.0|\[::\]):/, `${hostname()}:`);
}
