import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ClusterStatus } from '../../src/core/cluster/status.ts';
import { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { Status, TokenState } from '../../src/core/tokens/state.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { FakeClock } from '../support/clock.ts';
import { Turns } from '../support/turns.ts';

const NOW = Date.UTC(2026, 0, 15);

function stateOf(appId: string, status: Status = 'FRESH', expireTime: number | null = NOW + 7_200_000): TokenState {
  const current = expireTime === null ? null : { value: 'T0KEN', id: 'abcdef', issueTime: NOW, expireTime };
  return {
    appId,
    generation: 1_768_000_000_123,
    current,
    previous: null,
    status,
    statusReason: 'why',
    nextRefreshTime: null,
    answeredAt: 0,
  };
}

function setup(...states: TokenState[]) {
  const clock = new FakeClock(NOW);
  const live: { states: TokenState[]; watchers: number; cluster?: ClusterStatus } = { states, watchers: 0 };
  const metrics = createMetrics({
    states: () => live.states,
    watchers: () => live.watchers,
    cluster: () => live.cluster,
    now: () => clock.now(),
  });
  return { clock, live, metrics };
}

/** The text of all metrics. */
async function textOf(metrics: { text(): Promise<Uint8Array> }): Promise<string> {
  return new TextDecoder().decode(await metrics.text());
}

/** The lines of the text that begin with `lingpai_` and contain `part`. */
async function samples(metrics: { text(): Promise<Uint8Array> }, part: string): Promise<string[]> {
  return (await textOf(metrics)).split('\n').filter((line) => line.startsWith('lingpai_') && line.includes(part));
}

const failure = new UpstreamError('no', {
  reason: 'UPSTREAM_TIMEOUT',
  recovery: { kind: 'backoff' },
  effect: 'unknown',
});

describe('events', () => {
  test.each<[BrokerEvent, string]>([
    [
      { type: 'rotated', appId: 'wx1', generation: 1, tokenId: 'i', cause: 'report', durationMs: 1, storedAfterMs: 1 },
      'lingpai_refreshes_total{app_id="wx1",result="rotated",cause="report"} 2',
    ],
    [
      { type: 'unchanged', appId: 'wx1', cause: 'scheduled', durationMs: 1 },
      'lingpai_refreshes_total{app_id="wx1",result="unchanged",cause="scheduled"} 2',
    ],
    [
      { type: 'refresh_failed', appId: 'wx1', cause: 'probe', durationMs: 1, error: failure, retryInMs: 1 },
      'lingpai_refreshes_total{app_id="wx1",result="failed",cause="canary"} 2',
    ],
    [
      { type: 'force_refresh', appId: 'wx1', result: 'STILL_VALID' },
      'lingpai_force_refreshes_total{app_id="wx1",outcome="STILL_VALID"} 2',
    ],
    [
      { type: 'probed', appId: 'wx1', tokenId: 'i', cause: 'probe', verdict: 'rejected' },
      'lingpai_probes_total{app_id="wx1",cause="canary",verdict="rejected"} 2',
    ],
    [{ type: 'outside_mint', appId: 'wx1', tokenId: 'i' }, 'lingpai_outside_mints_total{app_id="wx1"} 2'],
    [
      { type: 'store_failed', appId: 'wx1', error: failure, retryInMs: 1 },
      'lingpai_store_failures_total{app_id="wx1"} 2',
    ],
    [{ type: 'clock_jumped', byMs: 1 }, 'lingpai_clock_jumps_total 2'],
    [{ type: 'store_away', error: failure, isNew: true }, 'lingpai_cluster_store_losses_total 2'],
    [{ type: 'set_lost', appId: 'wx1' }, 'lingpai_cluster_lost_sets_total 2'],
    [{ type: 'replica_died', replica: 'r2' }, 'lingpai_cluster_replica_deaths_total 2'],
    [{ type: 'provisional', appId: 'wx1', dueInMs: 1 }, 'lingpai_cluster_provisional_tokens_total 2'],
  ])('$type', async (event, line) => {
    const { metrics } = setup(stateOf('wx1'));
    metrics.observe(event);
    metrics.observe(event);
    expect(await samples(metrics, '_total')).toContain(line);
  });

  test('an app that is removed leaves no series, not even by an event that comes late', async () => {
    const { metrics, live } = setup(stateOf('wx1'), stateOf('wx2'));
    const events = (appId: string): BrokerEvent[] => [
      { type: 'rotated', appId, generation: 1, tokenId: 'i', cause: 'report', durationMs: 1, storedAfterMs: 1 },
      { type: 'force_refresh', appId, result: 'FAILED' },
      { type: 'probed', appId, tokenId: 'i', cause: 'probe', verdict: 'rejected' },
      { type: 'outside_mint', appId, tokenId: 'i' },
      { type: 'store_failed', appId, error: failure, retryInMs: 1 },
    ];
    for (const event of [...events('wx1'), ...events('wx2')]) metrics.observe(event);
    const before = await samples(metrics, '"wx1"');
    // Those that begin at 0, those that begin otherwise, and the gauges.
    expect(before.length).toBe(7 + 8 + 1 + 6);
    live.states = [stateOf('wx2')];
    for (const event of events('wx1')) metrics.observe(event);
    expect(await samples(metrics, '"wx1"')).toEqual([]);
    expect((await samples(metrics, '"wx2"')).length).toBe(before.length);
  });
});

describe('scrapes', () => {
  test('at the same time are rendered once, and the next one anew', async () => {
    let asked = 0;
    const metrics = createMetrics({
      states: () => [],
      watchers: () => ++asked,
      cluster: () => undefined,
      now: () => NOW,
    });
    const texts = await Promise.all(Array.from({ length: 20 }, () => metrics.text()));
    expect(asked).toBe(1);
    expect(new Set(texts).size).toBe(1);
    expect(await textOf(metrics)).toContain('lingpai_watchers 2');
  });
});

describe('what is alerted on', () => {
  const series = [
    'lingpai_refreshes_total{app_id="wx1",result="failed",cause="scheduled"} 0',
    'lingpai_refreshes_total{app_id="wx1",result="failed",cause="canary"} 0',
    'lingpai_force_refreshes_total{app_id="wx1",outcome="FAILED"} 0',
    'lingpai_probes_total{app_id="wx1",cause="canary",verdict="rejected"} 0',
    'lingpai_probes_total{app_id="wx1",cause="canary",verdict="unknown"} 0',
    'lingpai_outside_mints_total{app_id="wx1"} 0',
    'lingpai_store_failures_total{app_id="wx1"} 0',
    ...['mini_program', 'subscribe', 'official_account', 'subscription_notice'].map(
      (channel) => `lingpai_messages_total{app_id="wx1",channel="${channel}",outcome="unknown",reason=""} 0`,
    ),
    ...['begin', 'lookup', 'redraw', 'settle'].map(
      (operation) => `lingpai_ledger_failures_total{app_id="wx1",operation="${operation}"} 0`,
    ),
  ];
  const counters = async (metrics: { text(): Promise<Uint8Array> }, appId: string) =>
    (await samples(metrics, `_total{app_id="${appId}"`)).map((line) => line.replace(appId, 'wx1'));

  test('has a series for each app before anything happens, and no others', async () => {
    const { metrics, live } = setup(stateOf('wx1'));
    expect(await counters(metrics, 'wx1')).toEqual(series);
    // Those that come by a reload have theirs at once, and those that go lose them.
    live.states = [stateOf('wx2')];
    expect(await counters(metrics, 'wx2')).toEqual(series);
    expect(await counters(metrics, 'wx1')).toEqual([]);
  });

  test('goes on counting from there, and is written once', async () => {
    const { metrics } = setup(stateOf('wx1'), stateOf('wx2'));
    metrics.observe({ type: 'outside_mint', appId: 'wx1', tokenId: 'i' });
    const expected = series.map((line) => (line.includes('outside') ? line.replace(/0$/, '1') : line));
    expect(await counters(metrics, 'wx1')).toEqual(expected);
    expect(await counters(metrics, 'wx2')).toEqual(series);
  });

  test('begins again at 0 for an app that was gone', async () => {
    const { metrics, live } = setup(stateOf('wx1'));
    metrics.observe({ type: 'outside_mint', appId: 'wx1', tokenId: 'i' });
    live.states = [];
    await metrics.text();
    live.states = [stateOf('wx1')];
    expect(await counters(metrics, 'wx1')).toEqual(series);
  });

  test('a channel that is used has every outcome, and the refusals that stop more than one message', async () => {
    const { metrics } = setup(stateOf('wx1'));
    metrics.messages.observe({
      type: 'message_sent',
      appId: 'wx1',
      channel: 'subscribe',
      arrived: false,
      durationMs: 1,
    });
    const lines = await samples(metrics, 'lingpai_messages_total{app_id="wx1",channel="subscribe"');
    expect(lines.map((line) => line.replace(/^.*outcome=/, ''))).toEqual([
      '"unknown",reason=""} 0',
      '"sent",reason=""} 1',
      '"replayed",reason=""} 0',
      '"refused",reason="DAILY_QUOTA_EXHAUSTED"} 0',
      '"refused",reason="SEND_QUOTA_EXHAUSTED"} 0',
      '"refused",reason="SEND_LIMIT_EXCEEDED"} 0',
      '"refused",reason="ACCOUNT_CLOSED"} 0',
      '"refused",reason="INTERFACE_NOT_GRANTED"} 0',
      '"refused",reason="LEDGER_UNAVAILABLE"} 0',
      '"refused",reason="TOKEN_REFUSED"} 0',
    ]);
  });
});

test('thousands of apps are written in stretches, between which others have their turn', async () => {
  const { metrics } = setup(...Array.from({ length: 2_000 }, (_, i) => stateOf(`wx${i}`)));
  using turns = new Turns();
  const lines = (await textOf(metrics)).split('\n').length;
  expect(lines).toBeGreaterThan(2_000 * (13 + 6));
  expect(turns.count).toBeGreaterThanOrEqual(Math.floor((2_000 * (13 + 6)) / 1_000));
});

describe('gauges', () => {
  test.each<[TokenState, string, string]>([
    [stateOf('wx1'), '7190.5', 'FRESH'],
    [stateOf('wx1', 'DEGRADED', NOW + 5_000), '0', 'DEGRADED'],
    [stateOf('wx1', 'EXPIRED', null), '0', 'EXPIRED'],
    [stateOf('wx1', 'PENDING', null), '0', 'PENDING'],
  ])('of a token, %#', async (state, left, status) => {
    const { metrics, clock } = setup(state);
    clock.jump(9_500);
    const lines = (await samples(metrics, 'app_id="wx1"')).filter((line) => line.startsWith('lingpai_token_'));
    expect(lines).toEqual([
      `lingpai_token_seconds_left{app_id="wx1"} ${left}`,
      'lingpai_token_generation{app_id="wx1"} 1768000000123',
      ...['PENDING', 'FRESH', 'DEGRADED', 'EXPIRED'].map(
        (each) => `lingpai_token_status{app_id="wx1",status="${each}"} ${each === status ? 1 : 0}`,
      ),
    ]);
  });

  test('of the watches', async () => {
    const { metrics, live } = setup();
    live.watchers = 3;
    expect(await samples(metrics, 'watchers')).toEqual(['lingpai_watchers 3']);
  });
});

describe('the cluster', () => {
  const share = { epoch: 1, intents: [], owedTime: null, unsaved: false };
  const seen = { address: '', self: false, alive: true, silentMs: 0 };
  const cluster: ClusterStatus = {
    replica: 'r1',
    storeAvailable: true,
    storeTrouble: '',
    storeAgeMs: 1_500,
    replicas: [
      { ...seen, replica: 'r1', self: true },
      { ...seen, replica: 'r2' },
      { ...seen, replica: 'r3', alive: false },
    ],
    apps: [
      { ...share, appId: 'wx1', owner: 'r1', owedTime: NOW },
      {
        ...share,
        appId: 'wx2',
        owner: 'r2',
        intents: [
          { replica: 'r3', epoch: 1, ageMs: 60_000, kind: 'open' },
          { replica: 'r1', epoch: 2, ageMs: 250, kind: 'lease' },
        ],
      },
      { ...share, appId: 'wx3', owner: 'r1', intents: [{ replica: 'r1', epoch: 1, ageMs: 750, kind: 'lease' }] },
      { ...share, appId: 'wx4', owner: 'r2', intents: [{ replica: 'r2', epoch: 1, ageMs: 9_000, kind: 'lease' }] },
    ],
    lostSets: 0,
  };
  const gauges = async (status: ClusterStatus | undefined) => {
    const { metrics, live } = setup();
    if (status) live.cluster = status;
    return (await samples(metrics, 'lingpai_cluster_')).filter((line) => !line.includes('_total'));
  };

  test('has sums, and no label that grows with the apps', async () => {
    expect(await gauges(cluster)).toEqual([
      'lingpai_cluster_replicas_alive 2',
      'lingpai_cluster_store_up 1',
      'lingpai_cluster_store_age_seconds 1.5',
      'lingpai_cluster_apps_owned 2',
      'lingpai_cluster_leases_held 2',
      'lingpai_cluster_lease_age_seconds 0.75',
      'lingpai_cluster_intents_open 1',
      'lingpai_cluster_apps_provisional 1',
    ]);
  });

  test('is down when its store is away', async () => {
    const lines = await gauges({ ...cluster, apps: [], storeAvailable: false });
    expect(lines).toContain('lingpai_cluster_store_up 0');
    expect(lines).toContain('lingpai_cluster_lease_age_seconds 0');
  });

  test('has what docs/cluster.md names, and docs/cluster.md all that it has', async () => {
    const docs = readFileSync(new URL('../../docs/cluster.md', import.meta.url), 'utf8');
    const { metrics, live } = setup();
    live.cluster = cluster;
    const typed = [...(await textOf(metrics)).matchAll(/^# TYPE (lingpai_\w+)/gm)].map((match) => match[1]);
    const named = [...docs.matchAll(/lingpai_\w+/g)].map(([name]) => name);
    expect(typed).toEqual(expect.arrayContaining(named));
    expect(named).toEqual(expect.arrayContaining(typed.filter((name) => name?.startsWith('lingpai_cluster_'))));
  });

  test('is nothing where one process owns the store', async () => {
    expect(await gauges(undefined)).toEqual([]);
  });
});

describe('histograms', () => {
  test('count RPCs by method and code, in seconds, at and on both sides of a bound', async () => {
    const { metrics } = setup();
    for (const ms of [0.05, 0.1, 0.11, 10_000, 10_001]) metrics.rpc('S/Get', 'OK', ms);
    metrics.rpc('S/Get', 'NOT_FOUND', 1);
    metrics.rpc('S/Force', 'OK', 1);
    const lines = await samples(metrics, 'rpc_duration_seconds');
    const of = (le: string) =>
      lines.find((line) => line.includes(`method="S/Get",code="OK",le="${le}"`))?.split(' ')[1];
    expect([of('0.0001'), of('0.00025'), of('5'), of('10'), of('+Inf')]).toEqual(['2', '3', '3', '4', '5']);
    expect(lines).toContainEqual(
      expect.stringMatching(/^lingpai_rpc_duration_seconds_sum\{method="S\/Get",code="OK"\} 20\.00126/),
    );
    expect(lines).toContain('lingpai_rpc_duration_seconds_count{method="S/Get",code="OK"} 5');
    expect(lines).toContain('lingpai_rpc_duration_seconds_count{method="S/Get",code="NOT_FOUND"} 1');
    expect(lines).toContain('lingpai_rpc_duration_seconds_count{method="S/Force",code="OK"} 1');
  });

  test('propagation is there from the start, by hop', async () => {
    const { metrics } = setup();
    const name = 'lingpai_rotation_propagation_seconds';
    const counts = ['store', 'replica', 'stream'].map((hop) => `${name}_count{hop="${hop}"} 0`);
    expect(await samples(metrics, 'propagation_seconds_count')).toEqual(counts);
    metrics.propagation(2);
    const rotated = { type: 'rotated', appId: 'wx1', generation: 1, tokenId: 'i', cause: 'report' } as const;
    metrics.observe({ ...rotated, durationMs: 900, storedAfterMs: 20 });
    metrics.observe({ ...rotated, durationMs: 900, storedAfterMs: null });
    metrics.observe({ type: 'adopted', appId: 'wx1', generation: 1, tokenId: 'i', delayMs: 300 });
    const lines = await samples(metrics, 'propagation_seconds');
    expect(lines).toEqual(
      expect.arrayContaining([
        `${name}_bucket{hop="stream",le="0.001"} 0`,
        `${name}_bucket{hop="stream",le="0.0025"} 1`,
        `${name}_sum{hop="stream"} 0.002`,
        `${name}_sum{hop="store"} 0.02`,
        `${name}_sum{hop="replica"} 0.3`,
      ]),
    );
    expect(lines.filter((line) => line.includes('_count'))).toEqual(counts.map((line) => line.replace(/0$/, '1')));
  });

  test('propagation in short: counts, and durations as exactly as the buckets tell, but never beyond the longest', () => {
    const { metrics } = setup();
    const none = { count: 0, medianMs: 0, p99Ms: 0, maxMs: 0 };
    expect(metrics.propagationSummary()).toEqual({ store: none, replica: none, stream: none });
    const stream = () => metrics.propagationSummary().stream;
    metrics.propagation(7);
    expect(stream()).toEqual({ count: 1, medianMs: 7, p99Ms: 7, maxMs: 7 });
    for (let i = 0; i < 98; i++) metrics.propagation(3);
    metrics.propagation(900);
    expect(stream()).toEqual({ count: 100, medianMs: 5, p99Ms: 10, maxMs: 900 });
    metrics.propagation(45_000);
    // Above the highest bound there is no other to tell.
    for (let i = 0; i < 2; i++) metrics.propagation(31_000);
    expect(stream()).toEqual({ count: 103, medianMs: 5, p99Ms: 45_000, maxMs: 45_000 });
  });

  test('WeChat: latency by endpoint, calls by result, and no more results than are good for Prometheus', async () => {
    const { metrics } = setup();
    metrics.upstream({ endpoint: 'token', durationMs: 20, result: 'ok' });
    metrics.upstream({ endpoint: 'token', durationMs: 20, result: '40164' });
    for (let code = 0; code < 500; code++) metrics.upstream({ endpoint: 'probe', durationMs: 1, result: `${code}` });
    const lines = await samples(metrics, 'upstream_');
    expect(lines).toContain('lingpai_upstream_duration_seconds_count{endpoint="token"} 2');
    expect(lines).toContain('lingpai_upstream_duration_seconds_bucket{endpoint="token",le="0.025"} 2');
    expect(lines).toContain('lingpai_upstream_calls_total{endpoint="token",result="40164"} 1');
    expect(lines).toContain('lingpai_upstream_calls_total{endpoint="probe",result="other"} 405');
    // What begins at 0 are 4 results of 6 endpoints.
    const counted = lines.filter((line) => line.startsWith('lingpai_upstream_calls_total') && !line.endsWith(' 0'));
    expect(counted.length).toBe(1 + 1 + 95 + 1);
    expect(lines).toContain('lingpai_upstream_calls_total{endpoint="probe",result="UPSTREAM_TIMEOUT"} 0');
  });
});

describe('the text', () => {
  test('is well-formed: each metric once, with help and type, each line a sample', async () => {
    const { metrics, live } = setup(stateOf('wx1'), stateOf('wx2'));
    live.cluster = {
      replica: 'r',
      storeAvailable: true,
      storeTrouble: '',
      storeAgeMs: 0,
      replicas: [],
      apps: [],
      lostSets: 0,
    };
    metrics.rpc('S/Get', 'OK', 1);
    const lines = (await textOf(metrics)).split('\n').filter((line) => line !== '');
    const typed = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2] ?? '');
    expect(new Set(typed).size).toBe(typed.length);
    expect(lines.filter((line) => line.startsWith('# HELP')).length).toBe(typed.length);
    for (const line of lines.filter((line) => !line.startsWith('#'))) {
      expect(line).toMatch(/^[a-z_0-9]+(\{([a-z_]+="[^"\\]*",?)+\})? (-?\d[\d.e+-]*|Nan|\+Inf)$/i);
      const name = line.split(/[{ ]/)[0] ?? '';
      expect(typed).toContain(typed.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, ''));
    }
    expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  test('has the process figures', async () => {
    const text = await textOf(setup().metrics);
    expect(text).toContain('process_cpu_seconds_total');
    expect(text).toContain('nodejs_eventloop_lag_seconds');
  });

  test('P12: holds no token', async () => {
    const { metrics } = setup(stateOf('wx1'));
    expect(await textOf(metrics)).not.toContain('T0KEN');
  });

  test('belongs to one instance alone', async () => {
    const [one, two] = [setup(), setup()];
    one.metrics.observe({ type: 'clock_jumped', byMs: 1 });
    expect(await samples(two.metrics, 'clock_jumps')).toEqual(['lingpai_clock_jumps_total 0']);
  });
});
