import { Counter, type Registry } from 'prom-client';
import type { BrokerEvent } from '../core/tokens/events.ts';
import { AppCounter } from './app-counter.ts';
import { causeLabel } from './cause.ts';

/** Counters of what happens in the broker. */
export interface EventCounters {
  /** Counts an event. */
  observe(event: BrokerEvent): void;
  /** Those by app, which are not in the registry. */
  readonly perApp: readonly AppCounter[];
}

/**
 * Registers a counter for each kind of event that is worth one. Each app begins with 7 series at 0: what somebody is woken for.
 * A refresh or a report that failed for a caller, or a token that was replaced as planned, comes when it is first counted.
 */
export function registerEventCounters(registry: Registry): EventCounters {
  const registers = [registry];
  const refreshes = new AppCounter({
    name: 'lingpai_refreshes_total',
    help: 'Times a token was to be refreshed, by what came of it and why.',
    labelNames: ['result', 'cause'],
    starts: [
      ['failed', 'scheduled'],
      ['failed', 'canary'],
    ],
  });
  const forced = new AppCounter({
    name: 'lingpai_force_refreshes_total',
    help: 'ForceRefresh calls, by outcome; FAILED is an error.',
    labelNames: ['outcome'],
    starts: [['FAILED']],
  });
  const probes = new AppCounter({
    name: 'lingpai_probes_total',
    help: 'Times WeChat was asked whether a token works, by why it was asked and what it said.',
    labelNames: ['cause', 'verdict'],
    starts: [
      ['canary', 'rejected'],
      ['canary', 'unknown'],
    ],
  });
  const outsideMints = new AppCounter({
    name: 'lingpai_outside_mints_total',
    help: 'Tokens that died before their time because something else minted for the app.',
    labelNames: [],
    starts: [[]],
  });
  const storeFailures = new AppCounter({
    name: 'lingpai_store_failures_total',
    help: 'Writes to the store that failed and are retried.',
    labelNames: [],
    starts: [[]],
  });
  const clockJumps = new Counter({
    name: 'lingpai_clock_jumps_total',
    help: 'Times the wall clock moved against the monotonic one: it was set, or the machine slept.',
    registers,
  });
  const storeLosses = new Counter({
    name: 'lingpai_cluster_store_losses_total',
    help: 'Times the store that the replicas share stopped answering this one.',
    registers,
  });
  const lostSets = new Counter({
    name: 'lingpai_cluster_lost_sets_total',
    help: "Writes that were lost to another replica's and made again.",
    registers,
  });
  const deaths = new Counter({
    name: 'lingpai_cluster_replica_deaths_total',
    help: 'Times another replica was silent for a whole lease.',
    registers,
  });
  const provisional = new Counter({
    name: 'lingpai_cluster_provisional_tokens_total',
    help: 'Times tokens were minted in an order that nobody knows, and a confirming mint was owed.',
    registers,
  });
  const perApp = [refreshes, forced, probes, outsideMints, storeFailures];

  return {
    observe(event) {
      switch (event.type) {
        case 'rotated':
        case 'unchanged':
          refreshes.inc(event.appId, event.type, causeLabel(event.cause));
          break;
        case 'refresh_failed':
          refreshes.inc(event.appId, 'failed', causeLabel(event.cause));
          break;
        case 'force_refresh':
          forced.inc(event.appId, event.result);
          break;
        case 'probed':
          probes.inc(event.appId, causeLabel(event.cause), event.verdict);
          break;
        case 'outside_mint':
          outsideMints.inc(event.appId);
          break;
        case 'store_failed':
          storeFailures.inc(event.appId);
          break;
        case 'clock_jumped':
          clockJumps.inc();
          break;
        case 'store_away':
          if (event.isNew) storeLosses.inc();
          break;
        case 'set_lost':
          lostSets.inc();
          break;
        case 'replica_died':
          deaths.inc();
          break;
        case 'provisional':
          provisional.inc();
          break;
      }
    },

    perApp,
  };
}
