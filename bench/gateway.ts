import { Child, type Memory } from './child.ts';
import type { Load } from './children/http-load.ts';
import type { Calls } from './children/load.ts';
import { type Figure, round } from './figure.ts';
import type { Benchmark } from './setup.ts';
import { median, quantile, ratios } from './stats.ts';

const MIB = 1024 * 1024;
const FAR_MS = 50;
const PATH = `/cgi-bin/message/template/send?access_token=lps1.${'c3RhbmQtaW4_'.repeat(12)}`;
const BODY = JSON.stringify({ touser: 'oUser', template_id: 'T1', data: { thing1: { value: 'x'.repeat(200) } } });

interface Side {
  readonly name: 'forwarder' | 'bare';
  readonly proxy: Child;
  readonly url: string;
}

/** Business calls beside a bare undici reverse proxy, with a WeChat at hand and one that is 50 ms away. */
export const gateway: Benchmark = async ({ quick, progress }) => {
  const rounds = quick ? 2 : 7;
  const durationMs = quick ? 400 : 1_500;
  const figures: Figure[] = [];
  await using load = Child.start('http-load.ts');
  for (const [where, delayMs, connections, atLeast] of [
    ['at hand', 0, 32, 0.6],
    [`${FAR_MS} ms away`, FAR_MS, 64, 0.95],
  ] as const) {
    await using wechat = Child.start('passing-wechat.ts');
    const baseUrl = await wechat.ask<string>('listen', { delayMs });
    await using passing = Child.start('passing-proxy.ts');
    await using bareProxy = Child.start('passing-proxy.ts');
    const sides: Side[] = [];
    for (const [name, proxy] of [
      ['forwarder', passing],
      ['bare', bareProxy],
    ] as const)
      sides.push({ name, proxy, url: await proxy.ask<string>('listen', { kind: name, baseUrl }) });
    const calls = (url: string, change: Partial<Load>) =>
      load.ask<Calls>('calls', { url, path: PATH, body: BODY, connections, durationMs, ...change } satisfies Load);
    for (const { url } of sides) await calls(url, {});
    const perSecond: Record<Side['name'], number[]> = { forwarder: [], bare: [] };
    const alone: Record<Side['name'], number[]> = { forwarder: [], bare: [] };
    for (let i = 0; i < rounds; i++) {
      progress(`WeChat ${where}, round ${i + 1} of ${rounds}`);
      for (const { name, url } of i % 2 === 0 ? sides : sides.toReversed()) {
        const { calls: count, ms } = await calls(url, {});
        perSecond[name].push((count / ms) * 1000);
        alone[name].push(quantile((await calls(url, { connections: 1 })).tookMs, 0.5));
      }
    }
    figures.push(
      {
        name: `Gateway: calls per second, WeChat ${where}, beside a bare proxy`,
        unit: 'x',
        rounds: ratios(perSecond.forwarder, perSecond.bare),
        limit: { atLeast },
        detail: `${round(median(perSecond.forwarder))} / ${round(median(perSecond.bare))} per second on ${connections} connections`,
      },
      {
        name: `Gateway: p50 added, WeChat ${where}`,
        unit: 'ms',
        rounds: alone.forwarder.map((ms, i) => ms - (alone.bare[i] ?? Number.NaN)),
        limit: { atMost: 1 },
        detail: `${round(median(alone.forwarder))} - ${round(median(alone.bare))} ms, one call at a time`,
      },
    );
    if (delayMs === 0) figures.push(...(await memory(passing, sides[0]?.url ?? '', load, { quick, progress })));
  }
  return figures;
};

/** What is held after many calls, and at the height of a download, beyond before. */
async function memory(
  proxy: Child,
  url: string,
  load: Child,
  { quick, progress }: Parameters<Benchmark>[0],
): Promise<Figure[]> {
  const count = quick ? 5_000 : 100_000;
  const bytes = quick ? 64 * MIB : 1024 * MIB;
  const held = async () => (await proxy.ask<Memory>('memory')).held;
  const request = { url, path: PATH, body: BODY, connections: 32, durationMs: 170_000 } satisfies Load;
  const before = await held();
  progress(`${round(count)} calls`);
  await load.ask<Calls>('calls', { ...request, most: count });
  const afterCalls = await held();
  progress(`a download of ${bytes / MIB} MiB`);
  let height = 0;
  let isOver = false;
  const watching = (async () => {
    while (!isOver) height = Math.max(height, await held());
  })();
  const got = await load.ask<number>('download', { url, path: `/download/${bytes}?access_token=x` });
  isOver = true;
  await watching;
  if (got < bytes) throw new Error(`the download ended after ${got} bytes`);
  return [
    {
      name: `Gateway: held after ${round(count)} calls`,
      unit: 'bytes',
      rounds: [afterCalls - before],
      limit: { atMost: 4 * MIB },
      detail: `${round(before / MIB)} MiB before`,
    },
    {
      name: `Gateway: held during a download of ${bytes / MIB} MiB`,
      unit: 'bytes',
      rounds: [height - before],
      limit: { atMost: 16 * MIB },
      detail: `at its height, ${round(before / MIB)} MiB before`,
    },
  ];
}
