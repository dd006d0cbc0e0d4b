import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { Child, MAIN, type Memory, serve } from './child.ts';
import { round } from './figure.ts';
import { type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';

const PEAK = new URL('children/peak.ts', import.meta.url).href;
const FEW = 1_000;

/** `lingpai send --file`: the memory that it and the broker need for many messages, beside that for few. */
export const sendFile: Benchmark = async ({ quick, progress }) => {
  const many = quick ? 10_000 : 100_000;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'stable');
  const config = await writeConfig(`${folder.path}/config.yaml`, {
    store: `${folder.path}/db`,
    upstream: await wechat.ask<string>('start', apps),
    apps,
  });
  const broker = stack.use(await serve(config, { watched: true }));
  const appId = apps[0]?.appId ?? '';
  const held = async () => (await broker.child.ask<Memory>('memory')).held;

  /** Sends a file of so many messages, and resolves with the most memory that the command had. */
  async function run(name: string, count: number): Promise<number> {
    progress(`${count} messages`);
    const file = `${folder.path}/${name}.ndjson`;
    const line = (i: number) => ({
      appId,
      toUser: `o${i}`,
      templateId: 'benchmark',
      data: { first: { value: `message ${i}` } },
      officialAccount: {},
      idempotencyKey: `${name}-${i}`,
    });
    await writeFile(file, Array.from({ length: count }, (_, i) => `${JSON.stringify(line(i))}\n`).join(''));
    const args = ['--import', PEAK, '--disable-warning=ExperimentalWarning', MAIN.pathname];
    const command = spawn(process.execPath, [...args, 'send', '--addr', broker.grpc, '--file', file], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const [peak, [code]] = await Promise.all([text(command.stdio[3] as NodeJS.ReadableStream), once(command, 'exit')]);
    if (code !== 0) throw new Error(`lingpai send --file ended with code ${code}`);
    return Number(peak);
  }

  // What a first run leaves behind for good is not a matter of how many messages there are.
  await run('first', FEW);
  const few = await run('few', FEW);
  const heldBefore = await held();
  const peak = await run('many', many);
  const grown = (await held()) - heldBefore;
  return [
    {
      name: `send --file: peak memory, ${round(many)} messages / ${round(FEW)}`,
      unit: 'x',
      rounds: [peak / few],
      limit: { atMost: 1.3 },
      detail: `${round(peak / 2 ** 20)} / ${round(few / 2 ** 20)} MiB resident`,
    },
    {
      name: 'send --file: what the broker holds for each message afterwards',
      unit: 'bytes',
      rounds: [grown / many],
      detail: `${round(grown / 2 ** 20)} MiB of heap more than before; the keys are in the store`,
    },
  ];
};
