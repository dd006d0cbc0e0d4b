import { create, toBinary } from '@bufbuild/protobuf';
import { WatchTokenRequestSchema, WatchTokenResponseSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { Child, type Memory, type Usage } from './child.ts';
import { type Figure, round } from './figure.ts';
import { rotatingBroker } from './rotating-broker.ts';
import type { Benchmark } from './setup.ts';
import { median, ratios } from './stats.ts';

const STREAMS = 100;
const NAMES = ['broker', 'grpc-js'] as const;
type Name = (typeof NAMES)[number];

interface Server {
  readonly child: Child;
  readonly address: string;
  readonly path: string;
  /** Has every stream sent something new. Resolves with the moment of WeChat's answer, or of the first write. */
  readonly rotate: () => Promise<number>;
  /** Waits until a rotation is quite over. */
  readonly rest: () => Promise<void>;
}

interface Round {
  readonly ms: number;
  readonly cpuMs: number;
}

/** A rotation to many watchers beside a server that does nothing but write the same bytes to as many streams. */
export const watchers: Benchmark = async ({ quick, progress }) => {
  const connections = quick ? 20 : 100;
  const rounds = quick ? 5 : 31;
  const count = connections * STREAMS;
  await using stack = new AsyncDisposableStack();
  const { broker, appId, refresh, rest, rotation } = await rotatingBroker(stack);
  const bytes = toBinary(WatchTokenResponseSchema, create(WatchTokenResponseSchema, rotation));
  const message = Buffer.from(bytes).toString('base64');

  const grpc = stack.use(Child.start('bare-grpc.ts'));
  const bare = await grpc.ask<string>('start', { message });
  const path = '/lingpai.v1.TokenService/WatchToken';
  const servers: Record<Name, Server> = {
    broker: { child: broker.child, address: broker.grpc, path, rotate: refresh, rest },
    'grpc-js': {
      child: grpc,
      address: bare,
      path: '/bare.Service/Watch',
      rotate: () => grpc.ask('rotate', message),
      rest: async () => undefined,
    },
  };
  const load = stack.use(Child.start('load.ts'));
  const request = toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema, { appIds: [appId] }));
  const before: Partial<Record<Name, Memory>> = {};
  for (const name of NAMES) {
    progress(`${count} watchers of ${name}`);
    const { child, address, path } = servers[name];
    const watch = { name, address, path, message: Buffer.from(request).toString('base64') };
    // A first stream, so that what is made once is there before memory is looked at.
    await load.ask('watch', { ...watch, name: `${name} before`, connections: 1, streams: 1 });
    before[name] = await child.ask<Memory>('memory');
    await load.ask('watch', { ...watch, connections, streams: STREAMS });
  }

  await rest();
  // No other message has two tokens in it.
  const leastBytes = Math.round(bytes.length * 0.8);
  const measured: Record<Name, Round[]> = { broker: [], 'grpc-js': [] };
  for (let i = quick ? -1 : -2; i < rounds; i++) {
    progress(i < 0 ? 'warming up' : `rotation ${i + 1} of ${rounds}`);
    for (const name of i % 2 === 0 ? NAMES : NAMES.toReversed()) {
      const one = await measure(name, servers[name], load, leastBytes);
      if (i >= 0) measured[name].push(one);
    }
  }
  const perStream = async (name: Name): Promise<Memory> => {
    const { held, rss } = await servers[name].child.ask<Memory>('memory');
    return { held: (held - (before[name]?.held ?? 0)) / count, rss: (rss - (before[name]?.rss ?? 0)) / count };
  };
  const memory = { broker: await perStream('broker'), 'grpc-js': await perStream('grpc-js') };
  return figures(measured, memory, count, bytes.length);
};

async function measure(name: Name, { child, rotate, rest }: Server, load: Child, leastBytes: number): Promise<Round> {
  const before = await child.ask<Usage>('usage');
  await load.ask('expect', { name, leastBytes });
  const from = await rotate();
  const until = await load.ask<number>('heard', name);
  const after = await child.ask<Usage>('usage');
  await rest();
  return { ms: until - from, cpuMs: after.cpuMs - before.cpuMs };
}

function figures(
  measured: Record<Name, Round[]>,
  memory: Record<Name, Memory>,
  count: number,
  bytes: number,
): Figure[] {
  const beside = (key: keyof Round, name: string, of: string): Omit<Figure, 'limit'> => {
    const [ours, theirs] = NAMES.map((name) => measured[name].map((one) => one[key])) as [number[], number[]];
    const detail = `${round(median(ours))} / ${round(median(theirs))} ${of}; ${count} streams, ${bytes} bytes`;
    return { name: `Watchers: ${name}, broker / grpc-js`, unit: 'x', rounds: ratios(ours, theirs), detail };
  };
  const held = (key: keyof Memory, name: string): Omit<Figure, 'limit'> => ({
    name: `Watchers: ${name} per stream, broker / grpc-js`,
    unit: 'x',
    rounds: [memory.broker[key] / memory['grpc-js'][key]],
    detail: `${round(memory.broker[key])} / ${round(memory['grpc-js'][key])} bytes; ${count} streams`,
  });
  return [
    { ...beside('ms', 'rotation to the last', "ms from WeChat's answer / the first write"), limit: { atMost: 1.3 } },
    beside('cpuMs', 'CPU of a rotation', 'ms of CPU'),
    { ...held('held', 'memory'), limit: { atMost: 1.25 } },
    held('rss', 'resident memory'),
  ];
}
