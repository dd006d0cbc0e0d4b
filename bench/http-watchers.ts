import { create, type MessageInitShape, toBinary, toJsonString } from '@bufbuild/protobuf';
import { WatchTokenRequestSchema, WatchTokenResponseSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { Child, type Memory, type Usage } from './child.ts';
import { type Figure, round } from './figure.ts';
import { rotatingBroker } from './rotating-broker.ts';
import type { Benchmark } from './setup.ts';
import { median, ratios } from './stats.ts';

/** What a stream over HTTP may hold, in bytes. */
const MOST_HELD = 20 * 1024;
const NAMES = ['broker', 'node:http'] as const;
type Name = (typeof NAMES)[number];
const TYPES = ['connect+json', 'connect+proto', 'grpc-web+proto'] as const;

interface Side {
  readonly child: Child;
  readonly load: Child;
  readonly address: string;
  /** Has every stream sent something new. Resolves with the moment of WeChat's answer, or of the first write. */
  readonly rotate: () => Promise<number>;
  /** Waits until a rotation is quite over. */
  readonly rest: () => Promise<void>;
}

interface Round {
  readonly ms: number;
  readonly cpuMs: number;
}

/** A rotation to many streams over HTTP/1.1, beside a bare node:http that writes the same bytes to as many. */
export const httpWatchers: Benchmark = async ({ quick, progress }) => {
  const count = quick ? 1_000 : 10_000;
  const rounds = quick ? 3 : 15;
  await using stack = new AsyncDisposableStack();
  const { broker, appId, refresh, rest, rotation } = await rotatingBroker(stack);

  const loads = {
    broker: stack.use(Child.start('http-watchers.ts')),
    bare: stack.use(Child.start('http-watchers.ts')),
  };
  const figures: Figure[] = [];
  for (const type of quick ? TYPES.slice(0, 1) : TYPES) {
    const message = envelope(type, WatchTokenResponseSchema, rotation);
    const request = requestOf(type, envelope(type, WatchTokenRequestSchema, { appIds: [appId] }));
    await using http = Child.start('bare-http.ts');
    const bytes = message.toString('base64');
    const sides: Record<Name, Side> = {
      broker: { child: broker.child, load: loads.broker, address: broker.http, rotate: refresh, rest },
      'node:http': {
        child: http,
        load: loads.bare,
        address: await http.ask<string>('start', { message: bytes, type: `application/${type}` }),
        rotate: () => http.ask('rotate', bytes),
        rest: async () => undefined,
      },
    };
    const before: Partial<Record<Name, Memory>> = {};
    for (const name of NAMES) {
      progress(`${count} streams of ${type} of ${name}`);
      const { child, load, address } = sides[name];
      const streams = { address, request: request.toString('base64') };
      // First streams, so that what is made once is there before memory is looked at.
      await load.ask('open', { ...streams, count: 100 });
      await load.ask('close');
      before[name] = await child.ask<Memory>('memory');
      await load.ask('open', { ...streams, count });
    }
    const measured: Record<Name, Round[]> = { broker: [], 'node:http': [] };
    for (let i = -2; i < rounds; i++) {
      progress(i < 0 ? 'warming up' : `rotation ${i + 1} of ${rounds}`);
      for (const name of i % 2 === 0 ? NAMES : NAMES.toReversed()) {
        // No other message has two tokens in it.
        const one = await measure(sides[name], Math.round(message.length * 0.8));
        if (i >= 0) measured[name].push(one);
      }
    }
    const perStream = async (name: Name): Promise<Memory> => {
      const { held, rss } = await sides[name].child.ask<Memory>('memory');
      return { held: (held - (before[name]?.held ?? 0)) / count, rss: (rss - (before[name]?.rss ?? 0)) / count };
    };
    const memory = { broker: await perStream('broker'), 'node:http': await perStream('node:http') };
    figures.push(...figuresOf(type, { measured, memory, count, bytes: message.length }));
    for (const name of NAMES) await sides[name].load.ask('close');
  }
  return figures;
};

/** A message in the envelope that all three put around it. */
function envelope<Desc extends typeof WatchTokenRequestSchema | typeof WatchTokenResponseSchema>(
  type: string,
  desc: Desc,
  init: MessageInitShape<Desc>,
): Buffer {
  const message = create(desc, init);
  const bytes = Buffer.from(type.endsWith('json') ? toJsonString(desc, message) : toBinary(desc, message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function requestOf(type: string, body: Buffer): Buffer {
  const head = [
    'POST /lingpai.v1.TokenService/WatchToken HTTP/1.1',
    'Host: 127.0.0.1',
    'User-Agent: bench',
    'Accept: */*',
    `Content-Type: application/${type}`,
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

async function measure({ child, load, rotate, rest }: Side, leastBytes: number): Promise<Round> {
  await rest();
  const before = await child.ask<Usage>('usage');
  await load.ask('expect', leastBytes);
  const from = await rotate();
  const until = await load.ask<number>('heard');
  const after = await child.ask<Usage>('usage');
  return { ms: until - from, cpuMs: after.cpuMs - before.cpuMs };
}

function figuresOf(
  type: string,
  {
    measured,
    memory,
    count,
    bytes,
  }: {
    measured: Record<Name, Round[]>;
    memory: Record<Name, Memory>;
    count: number;
    bytes: number;
  },
): Figure[] {
  const beside = (key: keyof Round, name: string, of: string): Omit<Figure, 'limit'> => {
    const [ours, theirs] = NAMES.map((side) => measured[side].map((one) => one[key])) as [number[], number[]];
    const detail = `${round(median(ours))} / ${round(median(theirs))} ${of}; ${count} streams, ${bytes} bytes`;
    return {
      name: `HTTP watchers, ${type}: ${name}, broker / node:http`,
      unit: 'x',
      rounds: ratios(ours, theirs),
      detail,
    };
  };
  const held = (key: keyof Memory, name: string): Omit<Figure, 'limit'> => ({
    name: `HTTP watchers, ${type}: ${name} per stream`,
    unit: 'bytes',
    rounds: [memory.broker[key]],
    detail: `node:http ${round(memory['node:http'][key])} bytes; ${count} streams`,
  });
  return [
    { ...beside('ms', 'rotation to the last', "ms from WeChat's answer / the first write"), limit: { atMost: 2 } },
    { ...beside('cpuMs', 'CPU of a rotation', 'ms of CPU'), limit: { atMost: 2 } },
    { ...held('held', 'memory'), limit: { atMost: MOST_HELD } },
    held('rss', 'resident memory'),
  ];
}
