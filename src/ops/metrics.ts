import { setImmediate } from 'node:timers/promises';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ClusterStatus } from '../core/cluster/status.ts';
import type { TicketState } from '../core/tickets/tickets.ts';
import type { BrokerEvent } from '../core/tokens/events.ts';
import type { TokenState } from '../core/tokens/state.ts';
import { type AccessMetrics, registerAccessMetrics } from './access-metrics.ts';
import { formatClusterGauges } from './cluster-gauges.ts';
import { registerEventCounters } from './event-counters.ts';
import { type GatewayMetrics, registerGatewayMetrics } from './gateway-metrics.ts';
import { type HistogramSummary, registerHistogram } from './histogram.ts';
import { type MessageMetrics, registerMessageMetrics } from './message-metrics.ts';
import { createTicketMetrics, type TicketMetrics, ticketGaugeLines } from './ticket-metrics.ts';
import { registerTlsMetrics, type TlsMetrics } from './tls-metrics.ts';
import { tokenGaugeLines } from './token-gauges.ts';

/** Where the figures come from that are computed at each scrape. */
export interface MetricsDeps {
  /** Every app that is configured. The series of others vanish. */
  readonly states: () => Iterable<TokenState>;
  /** Every ticket that is kept. Default: none. */
  readonly tickets?: () => Iterable<TicketState>;
  /** How many watches are open. */
  readonly watchers: () => number;
  /** How this replica sees its cluster; undefined: it is not one of several. */
  readonly cluster: () => ClusterStatus | undefined;
  /** The wall-clock time in milliseconds by which tokens age. */
  readonly now: () => number;
}

/** A call to WeChat that has ended. */
export interface UpstreamCall {
  readonly endpoint: string;
  readonly durationMs: number;
  /** `ok`, WeChat's errcode in digits, or the reason for which there was none. */
  readonly result: string;
}

/** A part of a new token's way: from WeChat into the store, from there to another replica, from a replica to a watch. */
export type PropagationHop = 'store' | 'replica' | 'stream';

/** What the broker counts, for Prometheus. No label ever holds a token, an openid or a secret. */
export interface Metrics {
  readonly messages: MessageMetrics;
  readonly tickets: TicketMetrics;
  readonly tls: TlsMetrics;
  readonly access: AccessMetrics;
  readonly gateway: GatewayMetrics;
  /** Counts an event of the broker. */
  observe(event: BrokerEvent): void;
  /** How many records the store had when it was last looked at, by the id of the key that seals them. */
  storeRecords(byKey: ReadonlyMap<string, number>): void;
  /** Counts a call to WeChat. */
  upstream(call: UpstreamCall): void;
  /** Counts an RPC that has ended. `method` and `code` must come out of closed sets: `lingpai.v1.TokenService/Get`, `OK`. */
  rpc(method: string, code: string, durationMs: number): void;
  /** Counts one watch that was written a rotation, `durationMs` after this replica got it. */
  propagation(durationMs: number): void;
  /** How long new tokens took so far, by hop. */
  propagationSummary(): Readonly<Record<PropagationHop, HistogramSummary>>;
  /** Everything, in Prometheus' text format, in UTF-8. */
  text(): Promise<Uint8Array>;
  /** The content type of `text`. */
  readonly contentType: string;
}

/** Seconds. A Get from memory takes a fraction of a millisecond, one that waits for WeChat up to its deadline. */
const RPC_BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const PROPAGATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const UPSTREAM_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** WeChat may answer with any number: what is beyond this many different results is counted as `other`. */
const MAX_RESULTS = 100;

/** So many lines are written at a stretch: with thousands of apps callers are answered in between. */
const STRETCH_LINES = 1_000;

/** Adds lines to a text's parts. A text of megabytes is encoded piece by piece: as a whole it takes a tenth of a second. */
async function collect(lines: Iterable<string>, parts: Buffer[]): Promise<void> {
  let stretch: string[] = [];
  for (const line of lines) {
    if (stretch.push(line) < STRETCH_LINES) continue;
    parts.push(encoded(stretch));
    stretch = [];
    await setImmediate();
  }
  parts.push(encoded(stretch));
}

function encoded(lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

/** What calls to WeChat come to that are alerted on, by endpoint: these series begin at 0. */
const ENDPOINTS = [
  'token',
  'stable_token',
  'probe',
  'ticket',
  'message_mini_program',
  'message_subscribe',
  'message_official_account',
  'message_subscription_notice',
];
const RESULTS = ['ok', 'UPSTREAM_UNREACHABLE', 'UPSTREAM_TIMEOUT', 'UPSTREAM_MALFORMED'];

/** Metrics in a registry of their own; any number of them can live side by side. */
export function createMetrics({ states, tickets: kept = () => [], watchers, cluster, now }: MetricsDeps): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const histogram = (name: string, help: string, labelNames: readonly string[], bounds: readonly number[]) =>
    registerHistogram(registry, { name, help, labelNames, bounds });

  const events = registerEventCounters(registry);
  new Gauge({
    name: 'lingpai_watchers',
    help: 'Watches that are open.',
    registers,
    collect() {
      this.set(watchers());
    },
  });
  const records = new Gauge({
    name: 'lingpai_store_records',
    help: "Apps' records in the store, by the id of the key that seals them: plain where they are not sealed, other where that key is not held.",
    labelNames: ['key'],
    registers,
  });
  const propagation = histogram(
    'lingpai_rotation_propagation_seconds',
    "How long a new token took, by hop: store, from WeChat's answer until it was stored; replica, from there until another replica had it; stream, from when this replica had it until it was written to a watch.",
    ['hop'],
    PROPAGATION_BOUNDS,
  );
  const hops = {
    store: propagation.series('store'),
    replica: propagation.series('replica'),
    stream: propagation.series('stream'),
  };
  const rpcs = histogram(
    'lingpai_rpc_duration_seconds',
    'How long RPCs took, by method and gRPC status code.',
    ['method', 'code'],
    RPC_BOUNDS,
  );
  const latency = histogram(
    'lingpai_upstream_duration_seconds',
    'How long calls to WeChat took.',
    ['endpoint'],
    UPSTREAM_BOUNDS,
  );
  const calls = new Counter({
    name: 'lingpai_upstream_calls_total',
    help: "Calls to WeChat, by endpoint and result: ok, WeChat's errcode, or the reason for which there was none.",
    labelNames: ['endpoint', 'result'],
    registers,
  });
  for (const endpoint of ENDPOINTS) for (const result of RESULTS) calls.inc({ endpoint, result }, 0);
  const messages = registerMessageMetrics(registry, now);
  const tickets = createTicketMetrics();
  const tls = registerTlsMetrics(registry, now);
  const access = registerAccessMetrics(registry, now);
  const gateway = registerGatewayMetrics(registry);
  const results = new Set<string>(RESULTS);
  /** What is being rendered: those that ask meanwhile get the same. */
  let text: Promise<Uint8Array> | undefined;
  // It wakes the process at this interval, in milliseconds: at the default of 10 that costs an idle broker 1 % of a core.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });

  return {
    messages,
    tickets,
    tls,
    access,
    gateway,

    observe(event) {
      events.observe(event);
      if (event.type === 'rotated' && event.storedAfterMs !== null) hops.store.observe(event.storedAfterMs);
      if (event.type === 'adopted') hops.replica.observe(event.delayMs);
    },

    storeRecords(byKey) {
      records.reset();
      for (const [key, count] of byKey) records.set({ key }, count);
    },

    upstream({ endpoint, durationMs, result }) {
      if (results.size < MAX_RESULTS) results.add(result);
      calls.inc({ endpoint, result: results.has(result) ? result : 'other' });
      latency.series(endpoint).observe(durationMs);
    },

    rpc: (method, code, durationMs) => rpcs.series(method, code).observe(durationMs),

    propagation: (durationMs) => hops.stream.observe(durationMs),

    propagationSummary: () => ({
      store: hops.store.summary(),
      replica: hops.replica.summary(),
      stream: hops.stream.summary(),
    }),

    text() {
      text ??= render().finally(() => {
        text = undefined;
      });
      return text;
    },

    contentType: registry.contentType,
  };

  async function render(): Promise<Uint8Array> {
    const all = [...states()];
    const appIds = new Set(all.map(({ appId }) => appId));
    messages.keepOnly(appIds);
    gateway.keepOnly(appIds);
    const parts: Buffer[] = [];
    await collect(tokenGaugeLines(all, now()), parts);
    await collect(ticketGaugeLines(kept(), appIds, now()), parts);
    for (const counter of [...events.perApp, ...messages.perApp, ...tickets.perApp]) {
      counter.keepOnly(appIds);
      await collect(counter.lines(appIds), parts);
    }
    const status = cluster();
    if (status) parts.push(encoded([formatClusterGauges(status)]));
    for (const { name } of registry.getMetricsAsArray()) {
      await setImmediate();
      parts.push(encoded([await registry.getSingleMetricAsString(name)]));
    }
    return Buffer.concat(parts);
  }
}
