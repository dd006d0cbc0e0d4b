import { Cluster, type ClusterDeps } from '../core/cluster/cluster.ts';
import { StoreClock } from '../core/cluster/store-clock.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { Timeline } from '../core/kernel/timeline.ts';
import { LocalCoordinators } from '../core/tokens/local-coordinator.ts';
import type { Deps, Settings, Store } from '../core/tokens/ports.ts';
import { Registry } from '../core/tokens/registry.ts';

/** Where records are kept: by this process alone, or together with other replicas. */
export type BrokerStore = { readonly local: Store } | { readonly shared: ClusterDeps };

/** What a broker needs of the world. */
export interface BrokerDeps extends Deps {
  readonly store: BrokerStore;
}

/** The core of a broker. */
export interface Broker {
  readonly registry: Registry;
  /** The clock by which tokens age: the shared store's, where there is one. */
  readonly clock: Clock;
  /** By which they age. */
  readonly timeline: Timeline;
  /** Undefined: it is not one of several replicas. */
  readonly cluster: Cluster | undefined;
}

/** Puts the core together. Nothing happens until the registry starts. */
export function createBroker({ store, ...deps }: BrokerDeps, settings: Settings): Broker {
  const { random, observe } = deps;
  if ('shared' in store) {
    const clock = new StoreClock(deps.clock);
    const timeline = new Timeline(clock);
    const cluster = new Cluster({ deps: store.shared, settings, clock, timeline, random, observe });
    const registry = new Registry({ ...deps, clock, timeline, coordinators: cluster }, settings);
    return { registry, clock, timeline, cluster };
  }
  const { clock } = deps;
  const timeline = new Timeline(clock);
  const coordinators = new LocalCoordinators({ clock, random, timeline, store: store.local, settings, observe });
  return { registry: new Registry({ ...deps, timeline, coordinators }, settings), clock, timeline, cluster: undefined };
}
