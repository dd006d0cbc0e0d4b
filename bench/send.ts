import { create, toBinary } from '@bufbuild/protobuf';
import { tokenClient } from '../src/commands/client.ts';
import { SendTemplateRequestSchema } from '../src/gen/lingpai/v1/message_pb.js';
import { Child, serve } from './child.ts';
import type { Posts } from './children/bare-undici.ts';
import type { Calls } from './children/load.ts';
import { type Figure, round } from './figure.ts';
import { type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';
import { median, quantile, ratios } from './stats.ts';

const CONNECTIONS = 2;
/** Together as many as the broker has under way at once, so that none waits for its turn. */
const IN_FLIGHT = 64;
/** As far as WeChat may be from a server in the same country. */
const LATENCY_MS = 50;
const TO_USER = 'oBenchmark';
const TEMPLATE_ID = 'benchmark';
const VALUES = { first: 'Your order is on its way', keyword1: 'ORD-20260115-0001', keyword2: '2026-01-15 12:00' };

/** SendTemplate beside posting the same messages to WeChat by hand. */
export const send: Benchmark = async ({ quick, progress }) => {
  const rounds = quick ? 5 : 21;
  const durationMs = quick ? 300 : 1_000;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'stable');
  const origin = await wechat.ask<string>('start', apps);
  const config = await writeConfig(`${folder.path}/config.yaml`, {
    store: `${folder.path}/db`,
    upstream: origin,
    apps,
  });
  const broker = stack.use(await serve(config, { watched: true }));
  const appId = apps[0]?.appId ?? '';
  const { state } = await tokenClient(broker.grpc).get({ appId });

  const data = Object.fromEntries(Object.entries(VALUES).map(([name, value]) => [name, { value }]));
  const request = create(SendTemplateRequestSchema, {
    appId,
    toUser: TO_USER,
    templateId: TEMPLATE_ID,
    data,
    channel: { case: 'officialAccount', value: {} },
  });
  const message = Buffer.from(toBinary(SendTemplateRequestSchema, request)).toString('base64');
  const path = '/lingpai.v1.MessageService/SendTemplate';
  const load = stack.use(Child.start('load.ts'));
  await load.ask('connect', { name: 'broker', address: broker.grpc, path, message, connections: CONNECTIONS });
  const bare = stack.use(Child.start('bare-undici.ts'));
  const posts: Omit<Posts, 'durationMs'> = {
    origin,
    path: `/cgi-bin/message/template/send?access_token=${encodeURIComponent(state?.current?.value ?? '')}`,
    body: { touser: TO_USER, template_id: TEMPLATE_ID, data },
    inFlight: CONNECTIONS * IN_FLIGHT,
  };

  const ways = {
    broker: (ms: number) =>
      load.ask<Calls>('calls', { name: 'broker', inFlight: IN_FLIGHT, durationMs: ms, timed: true }),
    bare: (ms: number) => bare.ask<Calls>('posts', { ...posts, durationMs: ms } satisfies Posts),
  };
  progress('warming up');
  await ways.broker(2_000);
  await ways.bare(2_000);
  const compare = async (where: string): Promise<[ours: Calls[], theirs: Calls[]]> => {
    const ours: Calls[] = [];
    const theirs: Calls[] = [];
    for (let i = 0; i < rounds; i++) {
      progress(`${where}, round ${i + 1} of ${rounds}`);
      if (i % 2 === 0) ours.push(await ways.broker(durationMs));
      theirs.push(await ways.bare(durationMs));
      if (i % 2 === 1) ours.push(await ways.broker(durationMs));
    }
    return [ours, theirs];
  };
  const near = figures('', ...(await compare('WeChat at hand')));
  const fault = { kind: 'latency', ms: LATENCY_MS, duration_s: 3_600 };
  const { ok } = await fetch(`${origin}/sandbox/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(fault),
  });
  if (!ok) throw new Error('the simulated WeChat took no fault');
  const far = figures(`, WeChat ${LATENCY_MS} ms away`, ...(await compare(`WeChat ${LATENCY_MS} ms away`)));
  // That far away the limit would ask little: it is there to show what a user will see.
  return [...near, ...far.map(({ limit, ...figure }) => figure)];
};

function figures(where: string, ours: readonly Calls[], theirs: readonly Calls[]): Figure[] {
  const perSecond = (all: readonly Calls[]) => all.map(({ calls, ms }) => (calls / ms) * 1000);
  const slowest = (all: readonly Calls[]) => all.map(({ tookMs }) => quantile(tookMs, 0.99));
  const usual = (all: readonly Calls[]) => round(median(all.map(({ tookMs }) => median(tookMs))));
  return [
    {
      name: `SendTemplate${where}: messages per second, broker / bare undici`,
      unit: 'x',
      rounds: ratios(perSecond(ours), perSecond(theirs)),
      limit: { atLeast: 0.7 },
      detail: `${round(median(perSecond(ours)))} / ${round(median(perSecond(theirs)))} messages per second; ${CONNECTIONS * IN_FLIGHT} under way`,
    },
    {
      name: `SendTemplate${where}: p99, broker`,
      unit: 'ms',
      rounds: slowest(ours),
      detail: `bare undici ${round(median(slowest(theirs)))} ms; medians ${usual(ours)} / ${usual(theirs)} ms`,
    },
  ];
}
