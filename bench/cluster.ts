import { setTimeout } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { tokenClient } from '../src/commands/client.ts';
import { WatchTokenRequestSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { RedisServer } from '../test/support/redis.ts';
import { Child, type Served, serve } from './child.ts';
import { type Figure, round } from './figure.ts';
import { type BenchApp, type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';
import { median, quantile } from './stats.ts';

const REPLICAS = 3;
const STREAMS = 100;
/** As in the benchmark of watchers: rotations follow one another. */
const OVERLAP_MS = 2_000;
/** What a replica sends: scripts, and commands that no script does. What scripts do on the server is not counted. */
const ROUND_TRIPS = /^cmdstat_(evalsha|eval|ping|subscribe):calls=(\d+)/gm;

/** Three replicas on one Redis: how long a rotation takes to all watchers, and what they ask of Redis. */
export const cluster: Benchmark = async (run) => [...(await propagation(run)), ...(await commands(run))];

/** A rotation by one replica to the watchers of three, beside one to as many watchers of a replica that is alone. */
async function propagation({ quick, progress }: Parameters<Benchmark>[0]): Promise<Figure[]> {
  const connections = quick ? 6 : 30;
  const rounds = quick ? 10 : 100;
  await using stack = new AsyncDisposableStack();
  const apps = benchApps(1, 'classic');
  const appId = apps[0]?.appId ?? '';
  const request = toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema, { appIds: [appId] }));
  const message = Buffer.from(request).toString('base64');
  const sides = { alone: await start(stack, 1, apps), three: await start(stack, REPLICAS, apps) };
  const load = stack.use(Child.start('load.ts'));
  const measured: Record<keyof typeof sides, number[]> = { alone: [], three: [] };
  const names = { alone: ['alone'], three: ['three 0', 'three 1', 'three 2'] };

  for (const side of ['alone', 'three'] as const) {
    progress(`${connections * STREAMS} watchers of ${side === 'alone' ? 'one replica' : 'three replicas'}`);
    for (const [i, { grpc }] of sides[side].entries()) {
      const watch = { address: grpc, path: '/lingpai.v1.TokenService/WatchToken', message, streams: STREAMS };
      await load.ask('watch', { ...watch, name: names[side][i], connections: connections / sides[side].length });
    }
  }
  for (let i = -3; i < rounds; i++) {
    progress(i < 0 ? 'warming up' : `rotation ${i + 1} of ${rounds}`);
    for (const side of i % 2 === 0 ? (['alone', 'three'] as const) : (['three', 'alone'] as const)) {
      const ms = await rotate(sides[side], names[side], load, appId);
      if (i >= 0) measured[side].push(ms);
    }
  }
  const [p99, beside] = [quantile(measured.three, 0.99), quantile(measured.alone, 0.99)];
  const detail = `p99 ${round(p99)} / ${round(beside)} ms, median ${round(median(measured.three))} / ${round(median(measured.alone))} ms; ${connections * STREAMS} streams, ${rounds} rotations`;
  return [
    {
      name: 'Cluster: rotation to the last, p99, three replicas less one',
      unit: 'ms',
      rounds: [p99 - beside],
      limit: { atMost: 150 },
      detail,
    },
  ];
}

/** From WeChat's answer until the last watcher of the last replica has it. */
async function rotate(replicas: readonly Served[], names: readonly string[], load: Child, appId: string) {
  const [first] = replicas;
  if (!first) throw new Error('no replica');
  const client = tokenClient(first.grpc);
  // No other message has two tokens in it.
  for (const name of names) await load.ask('expect', { name, leastBytes: 350 });
  await client.forceRefresh({ appId });
  const from = await first.child.ask<number>('tokenAnsweredAt');
  const heard = await Promise.all(names.map((name) => load.ask<number>('heard', name)));
  for (const { grpc } of replicas) {
    while ((await tokenClient(grpc).get({ appId })).state?.previous) await setTimeout(50);
  }
  return Math.max(...heard) - from;
}

/** What replicas ask of Redis while nothing happens, and for each rotation. */
async function commands({ quick, progress }: Parameters<Benchmark>[0]): Promise<Figure[]> {
  const spanMs = quick ? 6_000 : 30_000;
  const figures: Figure[] = [];
  for (const [count, replicas] of [
    [1_000, 1],
    [1_000, 2],
    [1_000, REPLICAS],
    [100, REPLICAS],
  ] as const) {
    progress(`${count} apps, ${replicas} replicas`);
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await RedisServer.start());
    const apps = benchApps(count, 'classic');
    const served = await start(stack, replicas, apps, redis);
    const client = tokenClient(served[0]?.grpc ?? '');
    for (const { appId } of apps) await client.get({ appId });
    await setTimeout(5_000);
    const before = await roundTrips(redis);
    await setTimeout(spanMs);
    const idle = ((await roundTrips(redis)) - before) / (spanMs / 1_000);
    const rotated = apps.slice(0, 50);
    const beforeRotations = await roundTrips(redis);
    const begun = performance.now();
    for (const { appId } of rotated) await client.forceRefresh({ appId });
    await setTimeout(1_000);
    const meanwhile = (idle * (performance.now() - begun)) / 1_000;
    const each = ((await roundTrips(redis)) - beforeRotations - meanwhile) / rotated.length;
    // A classic token is replaced at half of its two hours.
    const steady = idle + (each * count) / 3_600;
    figures.push({
      name: `Cluster: commands to Redis a second, ${count} apps, ${replicas === 1 ? '1 replica' : `${replicas} replicas`}`,
      unit: '/s',
      rounds: [steady],
      detail: `${round(idle)} /s without rotations, ${round(each)} for each rotation, ${round(count / 3_600)} of them a second`,
    });
  }
  return figures;
}

async function start(
  stack: AsyncDisposableStack,
  count: number,
  apps: readonly BenchApp[],
  server?: RedisServer,
): Promise<Served[]> {
  const folder = stack.use(await temporaryFolder());
  const redis = server ?? stack.use(await RedisServer.start());
  const wechat = stack.use(Child.start('wechat.ts'));
  const upstream = await wechat.ask<string>('start', apps);
  const config = await writeConfig(`${folder.path}/config.yaml`, {
    store: redis.url(),
    upstream,
    apps,
    settings: {
      refresh: { cooldown: '0s', probe_interval: '0s' },
      upstream: { overlap: `${OVERLAP_MS}ms` },
    },
  });
  const served: Served[] = [];
  for (let i = 0; i < count; i++) served.push(stack.use(await serve(config, { watched: true })));
  return served;
}

async function roundTrips(redis: RedisServer): Promise<number> {
  const info = await redis.command('INFO commandstats');
  return [...info.matchAll(ROUND_TRIPS)].reduce((sum, [, , calls]) => sum + Number(calls), 0);
}
