import { create, toBinary } from '@bufbuild/protobuf';
import { tokenClient } from '../src/commands/client.ts';
import { GetRequestSchema, GetResponseSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { Child, serve, type Usage } from './child.ts';
import { type Figure, round } from './figure.ts';
import { type Benchmark, benchApps, temporaryFolder, writeConfig } from './setup.ts';
import { median, ratios } from './stats.ts';

const CONNECTIONS = 4;
const IN_FLIGHT = 64;
const NAMES = ['broker', 'grpc-js', 'http2'] as const;
type Name = (typeof NAMES)[number];

interface Round {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  /** Shares of one core. */
  readonly serverCpu: number;
  readonly clientCpu: number;
}

/** Get beside servers that do nothing but send the same bytes. */
export const get: Benchmark = async ({ quick, progress }) => {
  // Many short rounds: what else the machine does then falls on all three alike.
  const rounds = quick ? 9 : 41;
  const durationMs = quick ? 300 : 500;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'classic');
  const upstream = await wechat.ask<string>('start', apps);
  const config = await writeConfig(`${folder.path}/config.yaml`, { store: `${folder.path}/db`, upstream, apps });
  const broker = stack.use(await serve(config, { watched: true }));
  const appId = apps[0]?.appId ?? '';
  const answer = toBinary(GetResponseSchema, await tokenClient(broker.grpc).get({ appId }));
  const request = Buffer.from(toBinary(GetRequestSchema, create(GetRequestSchema, { appId }))).toString('base64');

  const message = Buffer.from(answer).toString('base64');
  const grpc = stack.use(Child.start('bare-grpc.ts'));
  const http2 = stack.use(Child.start('bare-http2.ts'));
  const servers: Record<Name, { child: Child; address: string; path: string }> = {
    broker: { child: broker.child, address: broker.grpc, path: '/lingpai.v1.TokenService/Get' },
    'grpc-js': {
      child: grpc,
      address: await grpc.ask('start', message),
      path: '/bare.Service/Get',
    },
    http2: { child: http2, address: await http2.ask('start', message), path: '/' },
  };
  const load = stack.use(Child.start('load.ts'));
  for (const name of NAMES) {
    const { address, path } = servers[name];
    await load.ask('connect', { name, address, path, message: request, connections: CONNECTIONS });
  }

  const measured: Record<Name, Round[]> = { broker: [], 'grpc-js': [], http2: [] };
  progress('warming up');
  for (const name of NAMES) await measure(name, servers[name].child, load, 1_500);
  for (let i = 0; i < rounds; i++) {
    progress(`round ${i + 1} of ${rounds}`);
    for (const name of i % 2 === 0 ? NAMES : NAMES.toReversed()) {
      measured[name].push(await measure(name, servers[name].child, load, durationMs));
    }
  }
  return figures(measured, answer.length);
};

async function measure(name: Name, server: Child, load: Child, durationMs: number): Promise<Round> {
  const cpu = async (child: Child) => (await child.ask<Usage>('usage')).cpuMs;
  const [serverBefore, clientBefore] = [await cpu(server), await cpu(load)];
  const { calls, ms } = await load.ask<{ calls: number; ms: number }>('calls', {
    name,
    inFlight: IN_FLIGHT,
    durationMs,
  });
  const [serverMs, clientMs] = [(await cpu(server)) - serverBefore, (await cpu(load)) - clientBefore];
  return {
    perSecond: (calls / ms) * 1000,
    perCpuSecond: (calls / serverMs) * 1000,
    serverCpu: serverMs / ms,
    clientCpu: clientMs / ms,
  };
}

function figures(measured: Record<Name, Round[]>, bytes: number): Figure[] {
  const all = (name: Name, key: keyof Round) => measured[name].map((one) => one[key]);
  const beside = (name: Name, key: 'perSecond' | 'perCpuSecond', words: string): Omit<Figure, 'limit'> => {
    const [ours, theirs] = [all('broker', key), all(name, key)];
    const detail = `${round(median(ours))} / ${round(median(theirs))} ${words}; answers of ${bytes} bytes`;
    return { name: `Get: ${words}, broker / ${name}`, unit: 'x', rounds: ratios(ours, theirs), detail };
  };
  const used = (key: 'serverCpu' | 'clientCpu') =>
    NAMES.map((name) => `${name} ${round(median(all(name, key)) * 100)} %`).join(', ');
  return [
    { ...beside('grpc-js', 'perCpuSecond', 'calls per CPU second'), limit: { atLeast: 0.95 } },
    { ...beside('grpc-js', 'perSecond', 'calls per second'), limit: { atLeast: 0.95 } },
    { ...beside('http2', 'perCpuSecond', 'calls per CPU second'), limit: { atLeast: 0.7 } },
    beside('http2', 'perSecond', 'calls per second'),
    {
      name: 'Get: CPU of the client beside that of the broker',
      unit: 'x',
      rounds: ratios(all('broker', 'clientCpu'), all('broker', 'serverCpu')),
      limit: { below: 0.8 },
      detail: `of a core: servers ${used('serverCpu')}; client ${used('clientCpu')}`,
    },
  ];
}
