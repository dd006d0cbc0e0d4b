import { writeFile } from 'node:fs/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { tokenClient } from '../src/commands/client.ts';
import { GetRequestSchema, GetResponseSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { type Issued, issue } from '../test/support/certificates.ts';
import { Child, serve, type Usage } from './child.ts';
import { type Figure, round } from './figure.ts';
import { type Benchmark, benchApps, type Run, temporaryFolder, writeConfig } from './setup.ts';
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
export const get: Benchmark = async (run) => figures(await measured(run, NAMES, undefined));

/** Get by TLS beside a server that does nothing but send the same bytes by TLS. */
export const tls: Benchmark = async (run) => {
  const certificate = issue({ name: 'bench', names: ['ip:127.0.0.1', 'dns:localhost'] });
  return secureFigures(await measured(run, ['broker', 'grpc-js'], certificate));
};

interface Measured {
  readonly rounds: Record<Name, Round[]>;
  /** Of an answer. */
  readonly bytes: number;
}

/** The rounds of each of these, by TLS where there is a certificate. */
async function measured(
  { quick, progress }: Run,
  names: readonly Name[],
  certificate: Issued | undefined,
): Promise<Measured> {
  // Many short rounds: what else the machine does then falls on all alike.
  const count = quick ? 9 : 41;
  const durationMs = quick ? 300 : 500;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'classic');
  const upstream = await wechat.ask<string>('start', apps);
  const settings = certificate && { tls: await writeCertificate(folder.path, certificate) };
  const config = await writeConfig(`${folder.path}/config.yaml`, {
    store: `${folder.path}/db`,
    upstream,
    apps,
    ...(settings && { settings }),
  });
  const broker = stack.use(await serve(config, { watched: true }));
  const appId = apps[0]?.appId ?? '';
  const to = settings ? { addr: `https://${broker.grpc}`, ca: settings.tls.cert } : broker.grpc;
  const answer = toBinary(GetResponseSchema, await tokenClient(to).get({ appId }));
  const request = Buffer.from(toBinary(GetRequestSchema, create(GetRequestSchema, { appId }))).toString('base64');

  const message = Buffer.from(answer).toString('base64');
  const starts: Record<Name, () => Promise<Server>> = {
    broker: async () => ({ child: broker.child, address: broker.grpc, path: '/lingpai.v1.TokenService/Get' }),
    'grpc-js': async () => {
      const child = stack.use(Child.start('bare-grpc.ts'));
      const address = await child.ask<string>('start', { message, ...(certificate && { tls: certificate }) });
      return { child, address, path: '/bare.Service/Get' };
    },
    http2: async () => {
      const child = stack.use(Child.start('bare-http2.ts'));
      return { child, address: await child.ask<string>('start', message), path: '/' };
    },
  };
  const load = stack.use(Child.start('load.ts'));
  const servers = new Map<Name, Server>();
  for (const name of names) {
    const server = await starts[name]();
    servers.set(name, server);
    const { address, path } = server;
    const ca = certificate?.cert;
    await load.ask('connect', { name, address, path, message: request, connections: CONNECTIONS, ca });
  }
  const round = async (name: Name, ms: number) => {
    const server = servers.get(name);
    if (!server) throw new RangeError(`${name} was not started`);
    return await measure(name, server.child, load, ms);
  };

  const rounds: Record<Name, Round[]> = { broker: [], 'grpc-js': [], http2: [] };
  progress('warming up');
  for (const name of names) await round(name, 1_500);
  for (let i = 0; i < count; i++) {
    progress(`round ${i + 1} of ${count}`);
    for (const name of i % 2 === 0 ? names : names.toReversed()) rounds[name].push(await round(name, durationMs));
  }
  return { rounds, bytes: answer.length };
}

interface Server {
  readonly child: Child;
  readonly address: string;
  readonly path: string;
}

/** Writes the files of a certificate, and returns the section `tls` that names them. */
async function writeCertificate(folder: string, { cert, key }: Issued): Promise<{ cert: string; key: string }> {
  const paths = { cert: `${folder}/cert.pem`, key: `${folder}/key.pem` };
  await writeFile(paths.cert, cert);
  await writeFile(paths.key, key, { mode: 0o600 });
  return paths;
}

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

function figures(measured: Measured): Figure[] {
  const { rounds } = measured;
  const used = (key: 'serverCpu' | 'clientCpu') =>
    NAMES.map((name) => `${name} ${round(median(all(rounds[name], key)) * 100)} %`).join(', ');
  return [
    { ...beside(measured, 'grpc-js', 'perCpuSecond', 'calls per CPU second'), limit: { atLeast: 0.95 } },
    { ...beside(measured, 'grpc-js', 'perSecond', 'calls per second'), limit: { atLeast: 0.95 } },
    { ...beside(measured, 'http2', 'perCpuSecond', 'calls per CPU second'), limit: { atLeast: 0.7 } },
    beside(measured, 'http2', 'perSecond', 'calls per second'),
    {
      name: 'Get: CPU of the client beside that of the broker',
      unit: 'x',
      rounds: ratios(all(rounds.broker, 'clientCpu'), all(rounds.broker, 'serverCpu')),
      limit: { below: 0.8 },
      detail: `of a core: servers ${used('serverCpu')}; client ${used('clientCpu')}`,
    },
  ];
}

function secureFigures(measured: Measured): Figure[] {
  return [
    { ...beside(measured, 'grpc-js', 'perCpuSecond', 'calls per CPU second', 'by TLS'), limit: { atLeast: 0.95 } },
    { ...beside(measured, 'grpc-js', 'perSecond', 'calls per second', 'by TLS'), limit: { atLeast: 0.95 } },
  ];
}

function all(rounds: readonly Round[], key: keyof Round): number[] {
  return rounds.map((one) => one[key]);
}

function beside(
  { rounds, bytes }: Measured,
  name: Name,
  key: 'perSecond' | 'perCpuSecond',
  words: string,
  how = '',
): Omit<Figure, 'limit'> {
  const [ours, theirs] = [all(rounds.broker, key), all(rounds[name], key)];
  const detail = `${round(median(ours))} / ${round(median(theirs))} ${words}; answers of ${bytes} bytes`;
  return {
    name: `Get${how && ` ${how}`}: ${words}, broker / ${name}`,
    unit: 'x',
    rounds: ratios(ours, theirs),
    detail,
  };
}
