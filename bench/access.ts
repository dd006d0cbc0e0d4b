import { writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Authenticator } from '../src/access/authenticator.ts';
import { GetRequestSchema, TokenService, WatchTokenRequestSchema } from '../src/gen/lingpai/v1/token_pb.js';
import { systemClock } from '../src/ops/clock.ts';
import { keyFile, makeKey } from '../test/support/access-key.ts';
import { jwksText, makeJwt, makeSigningKey } from '../test/support/jwt.ts';
import { sharedNow } from '../test/support/shared-now.ts';
import { Child, serve, type Usage } from './child.ts';
import { type Figure, round } from './figure.ts';
import { type BenchApp, type Benchmark, benchApps, type Run, temporaryFolder, writeConfig } from './setup.ts';
import { median, ratios } from './stats.ts';

const CONNECTIONS = 4;
const IN_FLIGHT = 64;
const GET = '/lingpai.v1.TokenService/Get';
const WATCH = '/lingpai.v1.TokenService/WatchToken';
/** How often another caller asks while streams are being ended. */
const POLITE_MS = 5;

/** What it costs to ask who calls, and how long a caller that was revoked keeps its streams. */
export const access: Benchmark = async (run) => [
  ...(await keyed(run)),
  ...(await credentials(run)),
  ...(await revocation(run)),
];

/** Get with a key beside Get of a broker that asks nobody. */
async function keyed({ quick, progress }: Run): Promise<Figure[]> {
  const count = quick ? 9 : 41;
  const durationMs = quick ? 300 : 500;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps = benchApps(1, 'classic');
  const upstream = await wechat.ask<string>('start', apps);
  const key = makeKey('orders');
  await writeFile(`${folder.path}/keys`, keyFile(key), { mode: 0o600 });
  const load = stack.use(Child.start('load.ts'));
  const appId = apps[0]?.appId ?? '';
  const message = base64(toBinary(GetRequestSchema, create(GetRequestSchema, { appId })));
  const sides = ['without', 'with a key'] as const;
  const servers = new Map<string, Child>();
  for (const name of sides) {
    const isKeyed = name === 'with a key';
    const settings = { ...QUIET, ...(isKeyed && rulesFor(['orders'])) };
    const config = await writeConfig(`${folder.path}/${isKeyed}.yaml`, {
      store: `${folder.path}/${isKeyed}.db`,
      upstream,
      apps,
      settings,
    });
    const { child, grpc } = stack.use(await serve(config, { watched: true }));
    servers.set(name, child);
    const authorization = isKeyed ? key.authorization : undefined;
    await load.ask('connect', { name, address: grpc, path: GET, message, connections: CONNECTIONS, authorization });
  }
  const cpuMs = async (child: Child) => (await child.ask<Usage>('usage')).cpuMs;
  const measure = async (name: string, ms: number) => {
    const child = servers.get(name) as Child;
    const before = await cpuMs(child);
    const { calls } = await load.ask<{ calls: number }>('calls', { name, inFlight: IN_FLIGHT, durationMs: ms });
    return (calls / ((await cpuMs(child)) - before)) * 1000;
  };
  progress('warming up');
  for (const name of sides) await measure(name, 1_500);
  const rounds: Record<(typeof sides)[number], number[]> = { without: [], 'with a key': [] };
  for (let i = 0; i < count; i++) {
    progress(`keys, round ${i + 1} of ${count}`);
    for (const name of i % 2 === 0 ? sides : sides.toReversed()) rounds[name].push(await measure(name, durationMs));
  }
  const [ours, theirs] = [rounds['with a key'], rounds.without];
  const detail = `${round(median(ours))} / ${round(median(theirs))} calls per CPU second`;
  return [
    {
      name: 'Access: Get with a key / without: calls per CPU second',
      unit: 'x',
      rounds: ratios(ours, theirs),
      limit: { atLeast: 0.95 },
      detail,
    },
  ];
}

/** What a caller's credential costs: by itself, without a call around it. */
async function credentials({ quick, progress }: Run): Promise<Figure[]> {
  const count = quick ? 5 : 15;
  const many = quick ? 200 : 1_000;
  const signing = makeSigningKey('bench');
  const issuer = { name: 'bench', kubernetes: false, issuer: 'https://bench', audience: 'lingpai' };
  const key = makeKey('orders');
  using authenticator = new Authenticator(
    {
      keys: keyFile(key),
      tokens: [{ ...issuer, algorithms: ['RS256'], jwks: { text: jwksText(signing) } }],
    },
    { clock: systemClock, fetchJwks: () => Promise.reject(), onFailure() {}, onResult() {}, onFetch() {} },
  );
  const exp = Math.floor(Date.now() / 1000) + 3_600;
  const head = (authorization: string) => ({ path: GET, headers: { authorization }, socket: undefined });
  const perCall = async (heads: readonly ReturnType<typeof head>[]) => {
    const from = performance.now();
    for (const one of heads) await authenticator.authenticate(one);
    return (performance.now() - from) / heads.length;
  };
  const [keys, first, next]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i <= count; i++) {
    progress(`credentials, round ${i} of ${count}`);
    const tokens = Array.from({ length: many }, (_, n) =>
      head(`Bearer ${makeJwt(signing, { iss: issuer.issuer, aud: 'lingpai', sub: `caller-${i}-${n}`, exp })}`),
    );
    const took = [
      await perCall(Array(many * 10).fill(head(key.authorization))),
      await perCall(tokens),
      await perCall(tokens),
    ];
    if (i === 0) continue;
    for (const [n, list] of [keys, first, next].entries()) list.push(took[n] as number);
  }
  const detail = `${many} of them one after another`;
  return [
    { name: 'Access: to know a key', unit: 'ms', rounds: keys, detail },
    { name: "Access: to know a JWT at its caller's first call", unit: 'ms', rounds: first, detail },
    { name: 'Access: to know it at the next', unit: 'ms', rounds: next, detail },
  ];
}

/** From the revocation of a key until the last of its streams has ended, and how long another's Gets wait meanwhile. */
async function revocation({ quick, progress }: Run): Promise<Figure[]> {
  const connections = quick ? 20 : 100;
  const streams = 100;
  const rounds = quick ? 1 : 5;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const wechat = stack.use(Child.start('wechat.ts'));
  const apps: BenchApp[] = benchApps(1, 'classic');
  const upstream = await wechat.ask<string>('start', apps);
  const appId = apps[0]?.appId ?? '';
  const message = base64(toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema, { appIds: [appId] })));
  const polite = makeKey('polite');
  const [ended, worst, quiet]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < rounds; i++) {
    progress(`revocation, round ${i + 1} of ${rounds}`);
    await using one = new AsyncDisposableStack();
    const watching = makeKey('watching');
    const file = `${folder.path}/keys`;
    await writeFile(file, keyFile(polite, watching), { mode: 0o600 });
    const settings = { ...QUIET, ...rulesFor(['polite', 'watching'], connections * streams) };
    const config = await writeConfig(`${folder.path}/config.yaml`, {
      store: `${folder.path}/${i}.db`,
      upstream,
      apps,
      settings,
    });
    const { grpc } = one.use(await serve(config, { watched: true }));
    const load = one.use(Child.start('load.ts'));
    const target = { name: 'streams', address: grpc, path: WATCH, message, authorization: watching.authorization };
    await load.ask('watch', { ...target, connections, streams });
    const others = new Others(grpc, polite.authorization, appId);
    quiet.push(await others.worstOf(setTimeout(2_000)));
    await load.ask('expectEnd', 'streams');
    const last = load.ask<number>('heard', 'streams');
    const from = sharedNow();
    await writeFile(file, keyFile(polite), { mode: 0o600 });
    worst.push(await others.worstOf(last));
    ended.push((await last) - from);
  }
  const beyond = worst.map((ms, i) => ms - (quiet[i] ?? 0));
  const count = connections * streams;
  return [
    {
      name: `Access: from a key's revocation to the end of its last stream`,
      unit: 'ms',
      rounds: ended,
      limit: { atMost: 5_000 },
      detail: `${count} streams; the key file is looked at every 2 s`,
    },
    {
      name: `Access: the worst Get of another caller meanwhile, beyond without`,
      unit: 'ms',
      rounds: beyond,
      limit: { atMost: 50 },
      detail: `${round(median(worst))} - ${round(median(quiet))} ms; one Get every ${POLITE_MS} ms`,
    },
  ];
}

/** Another caller, who asks again and again. */
class Others {
  readonly #ask: () => Promise<unknown>;

  constructor(address: string, authorization: string, appId: string) {
    const client = createClient(TokenService, createGrpcTransport({ baseUrl: `http://${address}` }));
    this.#ask = () => client.get({ appId }, { headers: { authorization } });
  }

  /** The longest that an answer took until this is over, in milliseconds. */
  async worstOf(over: Promise<unknown>): Promise<number> {
    let isOver = false;
    over.finally(() => {
      isOver = true;
    });
    let worst = 0;
    await this.#ask();
    while (!isOver) {
      const from = sharedNow();
      await this.#ask();
      worst = Math.max(worst, sharedNow() - from);
      await setTimeout(POLITE_MS);
    }
    return worst;
  }
}

/** Both sides of a comparison are to write no audit lines: they are what is written of any caller. */
const QUIET = { audit: { to: 'off' } };

function rulesFor(names: readonly string[], streams = 1_000) {
  const who = names.map((name) => `key:${name}`);
  const limits = { calls: 1_000_000, streams };
  return { tls: 'off', access: { keys: 'keys', rules: [{ who, may: ['read'], apps: ['*'] }], limits } };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
