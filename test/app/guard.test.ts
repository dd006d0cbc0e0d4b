import { request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Listeners, startListeners } from '../../src/app/listeners.ts';
import { createServices } from '../../src/app/services.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Access } from '../../src/core/access/access.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { Timeline } from '../../src/core/kernel/timeline.ts';
import { createLogger } from '../../src/ops/log.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { openMemory } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import { issue } from '../support/certificates.ts';
import { type Outcome, RawConnection } from '../support/raw-http2.ts';
import { World } from '../support/world.ts';

const CERTIFICATE = { ...issue({ name: 'server', names: ['dns:localhost', 'ip:127.0.0.1'] }), clientCa: null };
const RULES = {
  rules: [],
  blocked: [],
  keys: null,
  tokens: [],
  limits: { calls: 1, streams: 1 },
} as unknown as NonNullable<Config['access']>;
const PROBES = ['/livez', '/readyz'];

let world: World;
let listeners: Listeners;
/** The paths that the door was asked for. */
let asked: string[];

async function serve(settings: Partial<Config>, host = '127.0.0.1', hosts: string[] = []): Promise<void> {
  const { clock, broker: registry } = world;
  const text = JSON.stringify({
    grpc: { listen: `${host}:0` },
    http: { listen: `${host}:0`, hosts },
    ...(settings.access === 'open' && { access: 'open' }),
    apps: [{ app_id: 'wxc', secret: 's', issuer: 'classic' }],
  });
  const config = { ...(await loadConfig('config', {}, { read: async () => text })), ...settings };
  const metrics = createMetrics({
    states: () => registry.states(),
    watchers: () => registry.watchers,
    cluster: () => undefined,
    now: () => clock.now(),
  });
  const never = () => expect.fail('a message');
  const sender = { send: never, tryAgain: never, shutChannels: () => [] } as never;
  const [tickets, timeline] = [never as never, new Timeline(clock)];
  const end = { replica: undefined, start: never, stop: never };
  const core = { registry, clock, timeline, cluster: undefined, sender, tickets, ...end };
  const access = Access.open(clock);
  const parts = { config, metrics, access, pause: async () => {}, report: never };
  const audit = { record() {}, writable: true };
  const { ledger } = storeIn(openMemory(), 'memory:');
  listeners = await startListeners({
    ...parts,
    clock,
    services: createServices({
      ...parts,
      audit,
      core,
      ledger,
      onDeposit: undefined,
      draining: new AbortController().signal,
    }),
    states: () => registry.states(),
    logger: createLogger({ level: 'silent' }),
    authenticate({ path }) {
      asked.push(path);
      return LOCAL;
    },
  });
}

beforeEach(async () => {
  asked = [];
  world = await World.started({ apps: { wxc: 'classic' } });
});

afterEach(async () => {
  await listeners.stop();
  await world.broker.stop();
});

function portOf({ address }: { readonly address: string }): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** The HTTP status of each path of the HTTP listener. */
async function overHttp(tls: boolean, headers: Record<string, string>): Promise<Record<string, number>> {
  const statuses: Record<string, number> = {};
  for (const path of listeners.http.paths) {
    const method = path.includes('.') ? 'POST' : 'GET';
    const options = { host: '127.0.0.1', port: portOf(listeners.http), path, method, agent: false as const };
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const all = { ...options, headers: { 'content-type': 'application/json', ...headers }, rejectUnauthorized: false };
    const asking = (tls ? requestSecure : requestPlain)(all, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    });
    asking.once('error', reject).end(method === 'POST' ? '{}' : undefined);
    statuses[path] = await promise;
  }
  return statuses;
}

/** The gRPC status of each path of the gRPC listener; -1: none. Those that would not end are not waited for. */
async function overGrpc(tls: boolean, headers: Record<string, string | undefined>): Promise<Record<string, number>> {
  const secure = tls ? { rejectUnauthorized: false } : undefined;
  using raw = new RawConnection(`127.0.0.1:${portOf(listeners.grpc)}`, undefined, secure);
  const statuses: Record<string, number> = {};
  for (const path of listeners.grpc.paths) {
    const { fields }: Outcome = await raw.call(path, Buffer.alloc(0), headers);
    statuses[path] = Number(fields['grpc-status'] ?? -1);
  }
  return statuses;
}

/** The paths at which it is asked who calls. */
function guarded({ paths }: { readonly paths: readonly string[] }): string[] {
  return paths.filter((path) => !PROBES.includes(path) && !path.startsWith('/grpc.health.v1.'));
}

/** Every path with the same. */
function all(paths: readonly string[], status: number): Record<string, number> {
  return Object.fromEntries(paths.map((path) => [path, status]));
}

const INVALID_ARGUMENT = 3;
const PERMISSION_DENIED = 7;

describe.each([false, true])('on every path of both listeners, by TLS: %s', (tls) => {
  const settings: Partial<Config> = { tls: tls ? CERTIFICATE : null };

  it.each(['evil.example', 'evil.example:7600', 'localhost.evil.example', '10.0.0.1', '0.0.0.0'])(
    'a page whose name was made to lead to loopback is sent away: %s',
    async (host) => {
      await serve(settings);
      const { paths } = listeners.http;
      const others = paths.filter((path) => !PROBES.includes(path));
      expect(await overHttp(tls, { host })).toEqual({ ...all(others, 421), ...all(PROBES, 200), '/readyz': 503 });
      expect(asked).toEqual([]);
      expect(await overGrpc(tls, { ':authority': host })).toEqual(all(listeners.grpc.paths, INVALID_ARGUMENT));
      expect(await overGrpc(tls, { ':authority': undefined, host })).toEqual(
        all(listeners.grpc.paths, INVALID_ARGUMENT),
      );
      expect(asked).toEqual([]);
    },
  );

  it.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `${tls ? 'http' : 'https'}://localhost:1` },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' },
  ])('a page of another origin is sent away: %o', async (headers) => {
    await serve({ ...settings, access: 'open' });
    expect(await overHttp(tls, headers as Record<string, string>)).toEqual(all(listeners.http.paths, 403));
    expect(await overGrpc(tls, headers)).toEqual(all(listeners.grpc.paths, PERMISSION_DENIED));
    expect(asked).toEqual([]);
  });

  it.each([{ forwarded: 'for=192.0.2.1' }, { 'x-forwarded-for': '192.0.2.1' }, { 'x-forwarded-for': '' }])(
    'what a proxy passes on is refused where everyone is local: %o',
    async (headers) => {
      await serve(settings);
      expect(await overHttp(tls, headers as Record<string, string>)).toEqual(all(listeners.http.paths, 403));
      expect(await overGrpc(tls, headers)).toEqual(all(listeners.grpc.paths, PERMISSION_DENIED));
      expect(asked).toEqual([]);
    },
  );

  it.each([
    ['a proxy may pass on calls where access is open', { access: 'open' as const }, { 'x-forwarded-for': '192.0.2.1' }],
    ['and where there are rules', { access: RULES }, { forwarded: 'for=192.0.2.1' }],
    ['who says nothing of it is let in', {}, {}],
  ])('%s', async (_, access, headers) => {
    await serve({ ...settings, ...access });
    const statuses = [
      ...Object.values(await overHttp(tls, headers as Record<string, string>)),
      ...Object.values(await overGrpc(tls, headers)),
    ];
    expect(statuses.filter((status) => [403, 421, PERMISSION_DENIED].includes(status))).toEqual([]);
    expect(asked).toEqual([...guarded(listeners.http), ...guarded(listeners.grpc)]);
  });

  it('hosts that are named are let in, loopback and a page of the listener itself too', async () => {
    await serve({ ...settings, access: 'open' }, '127.0.0.1', ['lingpai.internal']);
    for (const host of ['lingpai.internal', 'LINGPAI.internal:443', 'localhost', '[::1]:1']) {
      await overHttp(tls, { host, origin: `${tls ? 'https' : 'http'}://${host}` });
      await overGrpc(tls, { ':authority': host });
    }
    expect(asked).toHaveLength(4 * (guarded(listeners.http).length + guarded(listeners.grpc).length));
  });

  it('beyond loopback any host is let in, unless some are named', async () => {
    await serve({ ...settings, access: 'open' }, '0.0.0.0');
    const host = '192.0.2.1:7680';
    await overHttp(tls, { host });
    await overGrpc(tls, { ':authority': host });
    expect(asked).toEqual([...guarded(listeners.http), ...guarded(listeners.grpc)]);
    await listeners.stop();
    asked = [];
    await serve({ ...settings, access: 'open' }, '0.0.0.0', ['lingpai.internal']);
    await overHttp(tls, { host });
    await overGrpc(tls, { ':authority': host });
    expect(asked).toEqual([]);
    await overGrpc(tls, { ':authority': 'lingpai.internal' });
    expect(asked).toEqual(guarded(listeners.grpc));
  });
});

it('a page without TLS is of another origin where there is TLS, though of the same host', async () => {
  await serve({ access: 'open', tls: CERTIFICATE });
  const host = 'localhost:7680';
  expect(await overHttp(true, { host, origin: `http://${host}` })).toEqual(all(listeners.http.paths, 403));
  const over = await overGrpc(true, { ':authority': host, origin: `http://${host}` });
  expect(over).toEqual(all(listeners.grpc.paths, PERMISSION_DENIED));
});
