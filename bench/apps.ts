import { setTimeout } from 'node:timers/promises';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { tokenClient } from '../src/commands/client.ts';
import { Child, serve, type Usage } from './child.ts';
import type { Ages } from './children/wechat.ts';
import { type Figure, round } from './figure.ts';
import { type BenchApp, type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';
import { largestShare, span } from './stats.ts';

/** As it is by default: a token is probed every 60 s. */
const PROBE_INTERVAL_S = 60;

/** Many apps in one process. */
export const apps: Benchmark = async ({ quick, progress }) => {
  const count = quick ? 2_000 : 5_000;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const all = benchApps(count);
  const upstream = await wechat.ask<string>('start', all);
  const config = (name: string) =>
    writeConfig(`${folder.path}/${name}.yaml`, { store: `${folder.path}/${name}.db`, upstream, apps: all });
  const fill = (name: string, ages: Ages) => wechat.ask('fill', { path: `${folder.path}/${name}.db`, apps: all, ages });

  progress(`${count} apps, first calls from an empty store`);
  const first = await firstCalls(await config('empty'), wechat, count);

  const starts: number[] = [];
  for (let i = 0; i < (quick ? 3 : 7); i++) {
    progress(`${count} apps, start ${i + 1} from a full store`);
    await fill(`start${i}`, 'spread');
    await using broker = await serve(await config(`start${i}`), { watched: false });
    starts.push(broker.readyMs / 1000);
  }

  progress(`${count} apps whose tokens are all of one age`);
  await fill('one', 'one');
  const planned = await plannedRefreshes(await config('one'), all);

  progress(`${count} apps in steady state`);
  await fill('steady', 'spread');
  const steady = await steadyCpu(await config('steady'), wechat, count, quick);

  return [
    {
      name: `Apps: start of ${count} from a full store`,
      unit: 's',
      rounds: starts,
      limit: { below: 2 },
      detail: 'from the start of the process until it is ready, Node itself included',
    },
    steady,
    spreadFigure('first calls, empty store', first),
    spreadFigure('classic refreshes, tokens of one age', planned.classic),
    spreadFigure('stable refreshes, tokens of one age', planned.stable),
  ];
};

/** When a broker with an empty store asked for its first tokens. */
async function firstCalls(config: string, wechat: Child, count: number): Promise<number[]> {
  await using broker = await serve(config, { watched: false });
  const times = await wechat.ask<number[]>('minted', count);
  if (broker.child.process.exitCode !== null) throw new Error('the broker ended early');
  return times;
}

/** When the apps of each issuer will next be refreshed, as the broker says. */
async function plannedRefreshes(
  config: string,
  apps: readonly BenchApp[],
): Promise<Record<BenchApp['issuer'], number[]>> {
  await using broker = await serve(config, { watched: false });
  const issuers = new Map(apps.map(({ appId, issuer }) => [appId, issuer]));
  const times: Record<BenchApp['issuer'], number[]> = { classic: [], stable: [] };
  const states = new Map<string, number>();
  for await (const { event } of tokenClient(broker.grpc).watchToken({})) {
    if (event.case !== 'state' || !event.value.nextRefreshTime) continue;
    states.set(event.value.appId, timestampMs(event.value.nextRefreshTime));
    if (states.size === apps.length) break;
  }
  for (const [appId, time] of states) times[issuers.get(appId) ?? 'stable'].push(time);
  return times;
}

async function steadyCpu(config: string, wechat: Child, count: number, quick: boolean): Promise<Figure> {
  await using broker = await serve(config, { watched: true });
  // Code that runs 80 times a second is hot only after a while.
  await setTimeout(quick ? 5_000 : 60_000);
  const calls = async () => {
    const { probe, classic, stable } = await wechat.ask<Record<'probe' | 'classic' | 'stable', number>>('counts');
    return { probes: probe, refreshes: classic + stable };
  };
  const cpu = async () => (await broker.child.ask<Usage>('usage')).cpuMs;
  const [before, beganAt, usedBefore] = [await calls(), performance.now(), await cpu()];
  await setTimeout(quick ? 15_000 : 90_000);
  const used = (await cpu()) - usedBefore;
  const ms = performance.now() - beganAt;
  const after = await calls();
  const probes = ((after.probes - before.probes) / ms) * 1000;
  const refreshes = ((after.refreshes - before.refreshes) / ms) * 1000;
  if (probes < (count / PROBE_INTERVAL_S) * 0.8) throw new Error(`only ${probes} probes a second: not in steady state`);
  return {
    name: `Apps: CPU of ${count} in steady state`,
    unit: '%',
    rounds: [(used / ms) * 100],
    limit: { below: 5 },
    detail: `of a core, over ${round(ms / 1000)} s with ${round(probes)} probes and ${round(refreshes)} refreshes a second`,
  };
}

/** How evenly these moments lie: the busiest 1 % of their time, or second where that is longer, beside an even spread. */
function spreadFigure(what: string, moments: readonly number[]): Figure {
  const whole = span(moments);
  const window = Math.max(whole / 100, 1000);
  const busiest = largestShare(moments, window);
  return {
    name: `Apps: busiest time of ${what}, busiest / even`,
    unit: 'x',
    rounds: [busiest / (window / whole)],
    limit: { below: 3 },
    detail: `${moments.length} over ${round(whole / 1000)} s; at most ${round(busiest * moments.length)} in ${round(window / 1000)} s`,
  };
}
