/**
 * `npm run soak -- [--minutes 30] [NAME...]`: the drivers that are built, and the reference driver, beside three replicas of the broker
 * on a Redis, with tokens of one minute, and a fault a minute. `--root DIR`: the checkout whose drivers are played. `--break SWITCH`: the
 * reference driver breaks that rule. See test/conformance/README.md.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { APP, Cluster, REPLICAS, TIMES } from '../../faults/cluster.ts';
import { judge } from '../../faults/judge.ts';
import { type Link, TcpProxy } from '../../faults/proxy.ts';
import { sharedNow } from '../../faults/subscribers.ts';
import { ensureRedis } from '../../support/redis.ts';
import { until } from '../../support/until.ts';
import type { DriverCommand } from '../driver.ts';
import { type Size, Subject } from './subject.ts';

const LIFETIME_MS = 60_000;
const FROZEN_MS = 50_000;
/** Two and a half heartbeats, as test/faults has it, and the other times of a library a tenth of its defaults. */
const timing = {
  silenceMs: 2_500,
  connectMs: 1_000,
  callMs: 2_000,
  backoffBaseMs: 50,
  backoffCapMs: 1_000,
  lifeMs: 1_000,
  goawayCapMs: 3_000,
};
/** A replica that dies while it mints: as test/faults allows it. */
const BAD_SECONDS_A_KILL = 0.5;
/** A collector that runs late, a connection that is just being replaced. */
const SLACK = { threads: 4, files: 4, mebibytes: 32 };
const ROOT = join(import.meta.dirname, '../../..');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '30' },
    root: { type: 'string', default: ROOT },
    break: { type: 'string', multiple: true, default: [] },
  },
});
const totalMs = Number(values.minutes) * 60_000;
if (!(totalMs > 0)) throw new Error(`--minutes ${values.minutes}: write a number above 0`);

/** A balancer before the replicas: each connection goes to the next one. */
interface Way {
  readonly proxy: TcpProxy;
  isRefusing: boolean;
}

/** A fault a minute; more where the soak is too short to play them all. */
const spacingMs = Math.min(60_000, totalMs / 7);

/** What is done to the ways for a while, or to a replica. Each ends what it began. */
const FAULTS: Record<string, (cluster: Cluster, ways: readonly Way[], turn: number) => Promise<void>> = {
  'frozen connections': async (_, ways) => {
    for (const { proxy } of ways) {
      const old = new WeakSet<Link>();
      const begun = performance.now();
      // Whoever speaks within a heartbeat was connected before.
      const isOld = (link: Link) => {
        if (performance.now() - begun < 1_200) old.add(link);
        return old.has(link);
      };
      proxy.rule = (_chunk, _direction, link) => (isOld(link) ? 'hold' : 'pass');
    }
    // Past a rotation and its overlap: who sits on the dead connection then has a dead token.
    await setTimeout(FROZEN_MS);
    for (const { proxy } of ways) proxy.release();
  },
  'reset connections': async (_, ways) => {
    for (const { proxy } of ways) proxy.cut();
  },
  'a replica killed': async (cluster, _, turn) => {
    cluster.at(turn % REPLICAS).child.kill();
    await setTimeout(3_000);
    await cluster.add(turn % REPLICAS);
  },
  'everything refused': async (_, ways) => {
    for (const way of ways) {
      way.isRefusing = true;
      way.proxy.cut();
    }
    await setTimeout(8_000);
    for (const way of ways) way.isRefusing = false;
  },
  'a replica drained': async (cluster, _, turn) => {
    const { child } = cluster.at(turn % REPLICAS);
    child.signal('SIGTERM');
    await child.ended();
    await cluster.add(turn % REPLICAS);
  },
  'everything delayed': async (_, ways) => {
    for (const { proxy } of ways) proxy.rule = () => 'hold';
    await setTimeout(2_000);
    for (const { proxy } of ways) proxy.release();
  },
};

function commands(): [name: string, DriverCommand][] {
  const drivers: Record<string, DriverCommand> = JSON.parse(
    readFileSync(join(values.root, 'test/conformance/drivers.json'), 'utf8'),
  );
  const libraries = Object.entries(drivers).map(([name, { cwd, run }]): [string, DriverCommand] => [
    name,
    { cwd: join(values.root, cwd), run },
  ]);
  const reference = ['grpc', 'connect'].map((transport): [string, DriverCommand] => {
    const args = ['test/conformance/reference/driver.ts', '--transport', transport];
    const broken = values.break.flatMap((name) => ['--break', name]);
    const run = [process.execPath, '--disable-warning=ExperimentalWarning', '--expose-gc', ...args, ...broken];
    return [`reference-${transport}`, { cwd: ROOT, run }];
  });
  const all = [...libraries, ...reference];
  return all.filter(([name]) => positionals.length === 0 || positionals.some((part) => name.includes(part)));
}

function grown(before: Size, after: Size): string[] {
  return (['threads', 'files', 'mebibytes'] as const)
    .filter((what) => after[what] > before[what] + SLACK[what] + (what === 'mebibytes' ? before[what] / 4 : 0))
    .map((what) => `${what} grew from ${before[what]} to ${after[what]}`);
}

const line = ([name = '', ...figures]: readonly unknown[], verdict: string) =>
  [String(name).padEnd(18), ...figures.map((each) => String(each).padStart(10)), ` ${verdict}`].join(' ');

ensureRedis();
await using stack = new AsyncDisposableStack();
const cluster = stack.use(await Cluster.start('classic', { count: 0 }, LIFETIME_MS));
const dies = new Map<string, number>();
const look = setInterval(() => {
  for (const { id, diesAt } of cluster.wechat.wechat.tokens(APP)) dies.set(id, diesAt);
}, 500);
stack.defer(() => clearInterval(look));

const ways: Way[] = [];
const subjects: { subject: Subject; base: Size }[] = [];
let missing = 0;
for (const [name, command] of commands()) {
  const subject = stack.use(new Subject(name, command, subjects.length));
  const { ok, error } = await subject.ask('hello');
  if (ok === undefined) {
    process.stderr.write(`${name} is left out: its driver is not built (${error?.message})\n`);
    missing += process.env['CI'] === 'true' ? 1 : 0;
    continue;
  }
  let turn = subjects.length;
  const way: Way = {
    isRefusing: false,
    proxy: await TcpProxy.before(() => {
      if (way.isRefusing) return 1;
      turn += 1;
      const { grpc, http } = cluster.at(turn % REPLICAS);
      return Number((ok['transport'] === 'grpc' ? grpc : http).split(':').at(-1));
    }),
  };
  stack.use(way.proxy);
  const options = { target: `http://127.0.0.1:${way.proxy.port}`, apps: [APP], timing };
  const created = await subject.ask('create', { options });
  if (created.ok === undefined) throw new Error(`${name}: create: ${JSON.stringify(created.error)}`);
  subject.follow(APP);
  ways.push(way);
  subjects.push({ subject, base: await subject.size() });
}
if (subjects.length === 0) throw new Error('no driver is built');

const end = performance.now() + totalMs;
const names = Object.keys(FAULTS);
let kills = 0;
let isWarm = false;
for (let turn = 0; performance.now() + spacingMs < end || turn === 0; turn += 1) {
  const name = names[turn % names.length] ?? '';
  const begun = performance.now();
  process.stderr.write(`${Math.round((end - begun) / 1_000)} s left: ${name}\n`);
  kills += name === 'a replica killed' ? 1 : 0;
  await FAULTS[name]?.(cluster, ways, turn);
  // A report now and then; WeChat accepts the token, as a rule, and the user's error comes back.
  await Promise.all(subjects.map(({ subject }) => subject.ask('call', { app: APP, script: ['40001', 'ok'] })));
  await setTimeout(Math.max(0, begun + spacingMs - performance.now()));
  if (!isWarm && turn + 1 >= Math.min(names.length, totalMs / spacingMs / 2)) {
    isWarm = true;
    for (const each of subjects) each.base = await each.subject.size();
  }
}
const newest = () => cluster.wechat.wechat.tokens(APP).find(({ issuer }) => issuer === 'classic')?.id;
const late = await until(2 * TIMES.overlapMs, () =>
  subjects.every(({ subject }) => subject.ended || subject.holdings.at(-1)?.tokenId === newest())
    ? undefined
    : 'newest',
).then(
  () => false,
  () => true,
);
const over = sharedNow();
const tokens = [...dies].map(([id, diesAt]) => ({ id, diesAt }));
let failed = missing;
const rows: string[] = [];
for (const [at, { subject, base }] of subjects.entries()) {
  subject.rest();
  const own = subject.holdings.map((holding) => ({ ...holding, subscriber: 0 }));
  const { badSeconds, bareSeconds, falls } = judge(own, tokens, { count: 1, known: 0, end: over });
  const { ok: stats } = await subject.ask('stats');
  const size = await subject.size();
  const faults = [...(subject.ended ? [subject.ended] : grown(base, size))];
  if (falls > 0) faults.push(`generations fell ${falls} times`);
  if (badSeconds > kills * BAD_SECONDS_A_KILL) faults.push(`bad-token-seconds above ${kills * BAD_SECONDS_A_KILL}`);
  if (bareSeconds > 0) faults.push('it was without a token');
  if (late && own.at(-1)?.tokenId !== newest()) faults.push('it does not hold the newest token');
  failed += faults.length > 0 ? 1 : 0;
  const rotations = new Set(own.map(({ generation }) => generation)).size;
  const growth = (['threads', 'files', 'mebibytes'] as const).map((what) => `${base[what]}->${size[what]}`);
  const figures = [
    rotations,
    falls,
    badSeconds.toFixed(2),
    bareSeconds.toFixed(2),
    stats?.['reconnects'],
    stats?.['goaways'],
  ];
  rows[at] = line([subject.name, ...figures, ...growth], faults.length === 0 ? 'ok' : faults.join('; '));
}
const heads = [
  'driver',
  'tokens',
  'falls',
  'bad-token',
  'no token',
  'reconnects',
  'goaways',
  'threads',
  'files',
  'MiB',
];
process.stdout.write(`${line(heads, 'verdict')}\n${rows.join('\n')}\n`);
process.stdout.write(`${subjects.length + missing - failed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
