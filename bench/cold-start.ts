import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Child, serve } from './child.ts';
import { round } from './figure.ts';
import { type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';
import { median } from './stats.ts';

const APPS = 10;

/** From the start of the process to `ready`, beside Node's own start. */
export const coldStart: Benchmark = async ({ quick, progress }) => {
  const rounds = quick ? 7 : 21;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(APPS);
  const store = `${folder.path}/db`;
  const upstream = await wechat.ask<string>('start', apps);
  await wechat.ask('fill', { path: store, apps, ages: 'spread' });
  const config = await writeConfig(`${folder.path}/config.yaml`, { store, upstream, apps });

  const ours: number[] = [];
  const bare: number[] = [];
  for (let i = -1; i < rounds; i++) {
    progress(i < 0 ? 'warming up' : `start ${i + 1} of ${rounds}`);
    const node = await nodeStart();
    await using broker = await serve(config, { watched: false });
    if (i < 0) continue;
    bare.push(node);
    ours.push(broker.readyMs);
  }
  return [
    {
      name: `Cold start to ready, ${APPS} apps, beyond Node's own start`,
      unit: 'ms',
      rounds: ours.map((ms, i) => ms - (bare[i] ?? Number.NaN)),
      limit: { below: 500 },
      detail: `${round(median(ours))} - ${round(median(bare))} ms`,
    },
  ];
};

/** How long Node takes to do nothing. */
async function nodeStart(): Promise<number> {
  const startedAt = performance.now();
  const [code] = await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
  if (code !== 0) throw new Error(`node -e 0 ended with code ${code}`);
  return performance.now() - startedAt;
}
