import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Listeners, startListeners } from '../../src/app/listeners.ts';
import { createServices } from '../../src/app/services.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Access } from '../../src/core/access/access.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { Timeline } from '../../src/core/kernel/timeline.ts';
import { createLogger } from '../../src/ops/log.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { openMemory } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import { callerOf } from '../../src/transport/call.ts';
import type { Service } from '../../src/transport/service.ts';
import { framed, RawConnection } from '../support/raw-http2.ts';
import { until } from '../support/rpc.ts';
import { World } from '../support/world.ts';

/** Whoever adds a path adds it here, and says by that that it may be asked for through the door. */
const RPCS = [
  '/lingpai.v1.TokenService/Get',
  '/lingpai.v1.TokenService/ForceRefresh',
  '/lingpai.v1.TokenService/WatchToken',
  '/lingpai.v1.TicketService/GetTicket',
  '/lingpai.v1.TicketService/SignJsapi',
  '/lingpai.v1.MessageService/SendTemplate',
  '/lingpai.v1.MessageService/SendTemplates',
  '/lingpai.v1.MessageService/DepositPermits',
  '/lingpai.v1.MessageService/CountPermits',
  '/lingpai.v1.MessageService/ReviewTemplate',
  '/lingpai.v1.AdminService/GetStatus',
  '/lingpai.v1.AdminService/ListCallers',
];
const REFLECTION = [
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
];
/** Probes know no key: what they ask for is open. */
const HEALTH = ['/grpc.health.v1.Health/Check', '/grpc.health.v1.Health/Watch', '/grpc.health.v1.Health/List'];
const PROBES = ['/livez', '/readyz'];
const PAGES = ['/readyz?apps', '/metrics'];
const STREAMS = ['/lingpai.v1.TokenService/WatchToken', '/lingpai.v1.MessageService/SendTemplates'];
const GET = '/lingpai.v1.TokenService/Get';
const KEY = { authorization: 'Bearer k' };
const REFUSED = 'who are you?';

let world: World;
let listeners: Listeners;
/** What the door was asked, and what reached a handler, by whom. */
let asked: string[];
let handled: string[];
let faults: unknown[];

/** A service whose methods say that they are called. */
function telling({ desc, impl, limits }: Service): Service {
  const methods = desc.methods.map(({ localName }) => {
    const method = (impl as Record<string, (input: unknown, context: HandlerContext) => unknown>)[localName];
    const told = (input: unknown, context: HandlerContext) => {
      handled.push(`${localName} by ${callerOf(context).caller.name} from ${callerOf(context).peer}`);
      return method?.call(impl, input, context);
    };
    return [localName, told];
  });
  return { desc, impl: Object.fromEntries(methods), ...(limits && { limits }) };
}

beforeEach(async () => {
  asked = [];
  handled = [];
  faults = [];
  world = await World.started({ apps: { wxc: 'classic' } });
  const { clock, broker: registry } = world;
  const listen = { listen: '127.0.0.1:0' };
  const text = JSON.stringify({
    grpc: listen,
    http: listen,
    apps: [{ app_id: 'wxc', secret: 's', issuer: 'classic' }],
  });
  const config = await loadConfig('config', {}, { read: async () => text });
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
  const parts = { config, metrics, access, pause: async () => {}, report: (error: unknown) => void faults.push(error) };
  const { ledger } = storeIn(openMemory(), 'memory:');
  const draining = new AbortController().signal;
  const audit = { record() {}, writable: true };
  const services = createServices({ ...parts, audit, core, ledger, onDeposit: undefined, draining }).map(telling);
  listeners = await startListeners({
    ...parts,
    clock,
    services,
    states: () => registry.states(),
    logger: createLogger({ level: 'silent' }),
    authenticate({ path, headers }) {
      asked.push(path);
      if (headers.authorization === KEY.authorization) return { ...LOCAL, name: 'key:orders' };
      throw new ConnectError(REFUSED, Code.Unauthenticated);
    },
  });
});

afterEach(async () => {
  await listeners.stop();
  await world.broker.stop();
  expect(faults).toEqual([]);
});

/** The answer to a request of which the head alone is sent, though it announces a body. */
async function headOnly(path: string, headers: Record<string, string>, method = 'POST') {
  const url = `http://${listeners.http.address}${path}`;
  const outgoing = request(url, { method, headers: { ...headers, 'content-length': '64' } });
  outgoing.on('error', () => {});
  outgoing.flushHeaders();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  outgoing.destroy();
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString('latin1') };
}

const sorted = (paths: readonly string[]) => [...paths].sort();

it('each listener answers the paths that are listed here, and no other', () => {
  expect(sorted(listeners.grpc.paths)).toEqual(sorted([...RPCS, ...REFLECTION, ...HEALTH]));
  expect(sorted(listeners.http.paths)).toEqual(sorted([...RPCS, ...PROBES, ...PAGES]));
});

describe('of a caller who may not come in, no body is read and no handler is called', () => {
  it.each([...RPCS, ...REFLECTION])('on the gRPC port: %s', async (path) => {
    using raw = new RawConnection(listeners.grpc.address);
    const { fields } = await raw.call(path);
    expect(fields).toMatchObject({ ':status': 200, 'grpc-status': '16', 'grpc-message': encodeURI(REFUSED) });
    expect([asked, handled]).toEqual([[path], []]);
  });

  it.each(RPCS.filter((path) => !STREAMS.includes(path)))('on the HTTP port, by Connect: %s', async (path) => {
    const { status, body } = await headOnly(path, { 'content-type': 'application/json' });
    expect([status, JSON.parse(body)]).toEqual([401, { code: 'unauthenticated', message: REFUSED }]);
    expect([asked, handled]).toEqual([[path], []]);
  });

  it('on the HTTP port, by Connect, as the end of a stream', async () => {
    const path = '/lingpai.v1.TokenService/WatchToken';
    const { status, body } = await headOnly(path, { 'content-type': 'application/connect+json' });
    expect([status, JSON.parse(body.slice(5)).error]).toEqual([200, { code: 'unauthenticated', message: REFUSED }]);
    expect([asked, handled]).toEqual([[path], []]);
  });

  it.each(RPCS.filter((path) => !path.endsWith('/SendTemplates')))(
    'on the HTTP port, by gRPC-Web: %s',
    async (path) => {
      const { headers, body } = await headOnly(path, { 'content-type': 'application/grpc-web+proto' });
      expect(`${headers['grpc-status']} ${body}`).toMatch(/^16 |grpc-status: 16/);
      expect([asked, handled]).toEqual([[path], []]);
    },
  );

  it.each([...PAGES, ...RPCS])('on the HTTP port, in no form that it takes: %s', async (path) => {
    for (const method of ['GET', 'POST', 'PUT']) {
      const { status, body } = await headOnly(path, { 'content-type': 'text/plain' }, method);
      expect([status, body]).toEqual([401, `${REFUSED}\n`]);
    }
    expect([asked, handled]).toEqual([[path, path, path], []]);
  });

  it('and who waits to be asked for the body is not asked', async () => {
    const invited = async (headers: Record<string, string>) => {
      let continued = false;
      const all = { ...headers, 'content-type': 'application/json', 'content-length': '15', expect: '100-continue' };
      const outgoing = request(`http://${listeners.http.address}${GET}`, { method: 'POST', headers: all });
      outgoing.once('continue', () => {
        continued = true;
        outgoing.end('{"appId":"wxc"}');
      });
      outgoing.flushHeaders();
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      response.resume();
      await once(response, 'end');
      outgoing.destroy();
      return [response.statusCode, continued];
    };
    expect(await invited({})).toEqual([401, false]);
    expect(await invited(KEY)).toEqual([200, true]);
  });

  it('and it is counted', async () => {
    using raw = new RawConnection(listeners.grpc.address);
    await raw.call(GET);
    await headOnly(GET, { 'content-type': 'application/json' });
    const counted = async () => {
      const response = await fetch(`http://${listeners.http.address}/metrics`, { headers: KEY });
      return /^lingpai_rpc.*_count\{.*UNAUTHENTICATED.*\} (\d+)$/m.exec(await response.text())?.[1];
    };
    expect(await counted()).toBe('2');
  });
});

it.each(PROBES)('anyone may ask for %s', async (path) => {
  listeners.http.setServing(true);
  expect((await headOnly(path, {}, 'GET')).status).toBe(200);
  expect([asked, handled]).toEqual([[], []]);
});

it.each(HEALTH)('anyone may ask for %s', async (path) => {
  using raw = new RawConnection(listeners.grpc.address);
  const [headers] = await once(raw.open(path, framed(Buffer.alloc(0))), 'response');
  // A status that comes with the head is a refusal.
  expect([headers[':status'], headers['grpc-status']]).toEqual([200, undefined]);
  expect([asked, handled]).toEqual([[], []]);
});

describe('a path that is not listed', () => {
  it.each(['/', '/lingpai.v1.TokenService/Guess', '/metrics/', `${GET}/`, '/grpc.health.v1.Health/Ask'])(
    'is answered without asking who calls: %s',
    async (path) => {
      using raw = new RawConnection(listeners.grpc.address);
      expect((await raw.call(path)).fields).toMatchObject({ 'grpc-status': '12' });
      expect((await headOnly(path, { 'content-type': 'application/json' })).status).toBe(404);
      expect([asked, handled]).toEqual([[], []]);
    },
  );
});

it('a handler sees who calls and from where, whichever door they came through', async () => {
  using raw = new RawConnection(listeners.grpc.address);
  await raw.call(GET, framed(Buffer.from('\n\u0003wxc')), KEY);
  for (const [type, body] of [
    ['application/json', Buffer.from('{"appId":"wxc"}')],
    ['application/grpc-web+proto', framed(Buffer.from('\n\u0003wxc'))],
  ] as const) {
    const init = { method: 'POST', headers: { ...KEY, 'content-type': type }, body };
    await (await fetch(`http://${listeners.http.address}${GET}`, init)).arrayBuffer();
  }
  await until(() => handled.length === 3);
  expect(handled).toEqual(Array(3).fill('get by key:orders from 127.0.0.1'));
});
