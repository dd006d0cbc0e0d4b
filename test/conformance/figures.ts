import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from 'redis';
import { RedisServer } from '../support/redis.ts';
import { app, type Figures, type Stage } from './stage.ts';

const reads = 2_000_000;
const opens = 1_000;

/** What thousands of clients that came and went may leave, where one that leaks leaves one a client; memory for a thousand, once as many have warmed the library up. */
const most: Figures = { 'threads more': 50, 'files more': 50, 'MiB more after it': 6 };

/** What grew beyond that, in words. */
export function growth(figures: Figures): string | undefined {
  const grown = Object.entries(most).filter(([name, bound]) => !((figures[name] ?? NaN) <= bound));
  if (grown.length === 0) return undefined;
  return grown.map(([name, bound]) => `${name}: ${figures[name]}, at most ${bound}`).join('; ');
}

/** A library's read, and what 1,000 clients that came and went have left. Nothing else runs beside it. */
export async function measure(stage: Stage): Promise<Figures> {
  stage.broker.states.set(app, stage.broker.state(app, 1n));
  await stage.create();
  const rounds: number[] = [];
  for (let round = 0; round < 5; round++) rounds.push((await stage.ask('bench', { reads })).nsPerRead);
  await stage.create({}, 'warm');
  await stage.ask('close', { client: 'warm' });
  const before = held(stage);
  // The first thousand warm it up. What two more both add is growth: a heap that is just being collected adds to one of them.
  const [warm, second, after] = [await opened(stage), await opened(stage), await opened(stage)];
  return {
    'read ns': rounds.toSorted((a, b) => a - b)[2] ?? NaN,
    'threads more': after.threads - before.threads,
    'files more': after.files - before.files,
    MiB: after.mib,
    'MiB more by warm-up': warm.mib - before.mib,
    'MiB more after it': Math.min(second.mib - warm.mib, after.mib - second.mib),
  };
}

/** What is held after 1,000 clients that came and went. */
async function opened(stage: Stage) {
  for (let open = 0; open < opens; open++) {
    await stage.create({}, `open${open}`);
    await stage.ask('close', { client: `open${open}`, forget: true });
  }
  // A collector gives memory back in its own time.
  const looks = [];
  for (let look = 0; look < 3; look++) {
    await stage.ask('leaks');
    await pause(250);
    looks.push(held(stage));
  }
  return looks.reduce((least, each) => (each.mib < least.mib ? each : least));
}

function held({ driver: { child } }: Stage) {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return {
    threads: number('Threads'),
    mib: number('VmRSS') / 1024,
    files: readdirSync(`/proc/${child.pid}/fd`).length,
  };
}

/** A GET of a Redis on loopback, one after the other: the median of five rounds, in nanoseconds. */
export async function redisGetNs(): Promise<number> {
  await using server = await RedisServer.start();
  const client = createClient({ url: server.url() });
  await client.connect();
  await client.set('token', 'x'.repeat(512));
  const rounds: number[] = [];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    for (let read = 0; read < 2_000; read++) await client.get('token');
    rounds.push(((performance.now() - start) / 2_000) * 1e6);
  }
  client.destroy();
  return rounds.toSorted((a, b) => a - b)[2] ?? NaN;
}
