import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { createClient, type HandlerContext } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import { ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.js';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { type HttpOptions, startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import { type StreamControl, streamControlOf } from '../../src/transport/call.ts';
import type { Service } from '../../src/transport/service.ts';
import { HTTP, Mounted, until } from '../support/rpc.ts';
import { SECOND, World } from '../support/world.ts';

const WATCH = '/lingpai.v1.TokenService/WatchToken';

let world: World;
let mounted: Mounted;
let listener: Listener;
let base: string;

function serve(mount: Mounted, options: Partial<HttpOptions> = {}): Promise<Listener> {
  const metrics = { contentType: 'text/plain; version=0.0.4', metrics: async () => 'lingpai_up 1\n' };
  return startHttp({ ...HTTP, ...mount, states: () => world.broker.states(), metrics, ...options });
}

beforeEach(async () => {
  world = await World.started({ apps: { wxc: 'classic', wxs: 'stable' } });
  mounted = new Mounted(world.clock, world.broker);
  listener = await serve(mounted);
  base = `http://${listener.address}`;
});

afterEach(async () => {
  await listener.stop();
  await world.broker.stop();
  expect(mounted.faults).toEqual([]);
});

function post(method: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${base}/lingpai.v1.TokenService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
}

/** A Connect/JSON watch, as a client writes it. */
function watchBody(message: string | Buffer = '{}'): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, Buffer.from(message)]);
}

describe('Connect with JSON', () => {
  it('answers Get', async () => {
    const response = await post('Get', '{"appId":"wxc"}');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      state: { appId: 'wxc', current: { value: world.token() }, status: 'TOKEN_STATUS_FRESH' },
    });
    await until(() => mounted.calls.length > 0);
    expect(mounted.calls).toEqual(['TokenService/Get OK']);
  });

  it('has the same errors as gRPC', async () => {
    const response = await post('Get', '{"appId":"nobody"}');
    expect(response.status).toBe(404);
    const { code, details } = (await response.json()) as { code: string; details: { type: string; debug: object }[] };
    expect(code).toBe('not_found');
    expect(details[0]).toMatchObject({
      type: 'google.rpc.ErrorInfo',
      debug: { reason: 'APP_NOT_FOUND', domain: 'lingpai', metadata: { app_id: 'nobody' } },
    });
    await until(() => mounted.calls.length > 0);
    expect(mounted.calls).toEqual(['TokenService/Get NOT_FOUND']);
  });

  it("is GENERATION_NOT_REACHED at the caller's deadline", async () => {
    const body = '{"appId":"wxc","minGeneration":"9007199254740991"}';
    const response = await post('Get', body, { 'connect-timeout-ms': '20' });
    expect(response.status).toBe(504);
    expect(await response.text()).toContain('GENERATION_NOT_REACHED');
  });

  it.each([{ 'connect-timeout-ms': '2147483648' }, { 'connect-timeout-ms': '9999999999' }])(
    'waits for a caller that would wait longer than a timer can: %o',
    async (headers) => {
      const waiting = post('Get', `{"appId":"wxc","minGeneration":"${world.state().generation + 1}"}`, headers);
      const pending = world.clock.pending;
      // The connection's timer is one, and the call's another.
      await until(() => world.clock.pending > pending + 1);
      await world.broker.forceRefresh('wxc', undefined);
      expect((await waiting).status).toBe(200);
    },
  );

  it.each([
    ['Get', { 'content-type': '' }, 415, 'send the header "content-type: application/json"'],
    ['Get', { 'content-type': 'text/plain' }, 415, 'send the header "content-type: application/json"'],
    ['Get', { 'content-type': 'application/connect+json' }, 415, 'send the header "content-type: application/json"'],
    ['WatchToken', {}, 415, 'send the header "content-type: application/connect+json"'],
  ])('says what to send where %s has %o', async (method, headers, status, text) => {
    const response = await post(method, '{"appId":"wxc"}', headers);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(text);
    expect(response.headers.get('accept-post')).toContain('application/');
  });

  it('says which method to use', async () => {
    const response = await fetch(`${base}/lingpai.v1.TokenService/Get`);
    expect([response.status, response.headers.get('allow'), await response.text()]).toEqual([
      405,
      'POST',
      'use POST\n',
    ]);
  });

  it('refuses JSON that is not UTF-8, and says where', async () => {
    const gbk = Buffer.concat([Buffer.from('{"appId":\n"'), Buffer.from([0xd6, 0xd0]), Buffer.from('"}')]);
    const response = await fetch(`${base}/lingpai.v1.TokenService/Get`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: gbk,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/^the request is not UTF-8 at byte 12 \(line 2\)/),
      details: [{ debug: { reason: 'INVALID_REQUEST' } }, { type: 'google.rpc.BadRequest' }],
    });
    const watch = await fetch(`${base}${WATCH}`, {
      method: 'POST',
      headers: { 'content-type': 'application/connect+json' },
      body: watchBody(gbk),
    });
    expect(await watch.text()).toContain('is not UTF-8 at byte 12');
    await until(() => mounted.calls.length === 2);
    expect(mounted.calls).toEqual(['TokenService/Get INVALID_ARGUMENT', 'TokenService/WatchToken INVALID_ARGUMENT']);
  });

  it('refuses JSON that is none, and more than 1 MiB of it', async () => {
    expect((await post('Get', '{"appId":')).status).toBe(400);
    expect((await post('Get', JSON.stringify({ appId: 'x'.repeat(1024 * 1024) }))).status).toBe(429);
    await until(() => mounted.calls.length === 2);
    expect(mounted.calls).toEqual(['TokenService/Get INVALID_ARGUMENT', 'TokenService/Get RESOURCE_EXHAUSTED']);
  });

  it.each(['application/proto', 'application/connect+proto', 'application/grpc-web+proto'])(
    "refuses a %s body that is no such message as the caller's fault",
    async (type) => {
      const garbage = Buffer.from([0x12, 0x1b, 0x0a]);
      const isEnveloped = type !== 'application/proto';
      const body = isEnveloped ? Buffer.concat([Buffer.from([0, 0, 0, 0, garbage.length]), garbage]) : garbage;
      const method = type.includes('connect+') ? 'WatchToken' : 'Get';
      const response = await fetch(`${base}/lingpai.v1.TokenService/${method}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
      expect(response.status).not.toBe(500);
      const status = `${response.headers.get('grpc-status')} ${await response.text()}`;
      expect(status).toMatch(/INVALID_REQUEST|grpc-status: 3/);
    },
  );

  it('tells the log of a fault, and the caller nothing', async () => {
    const broken = new Mounted(world.clock, {
      get: () => {
        throw new TypeError('the secret is hunter2');
      },
      forceRefresh: () => Promise.reject(new Error('hunter2')),
      rescope() {},
      watch: () => {
        throw new Error('hunter2');
      },
    });
    const faulty = await serve(broken);
    const client = createClient(TokenService, transport(faulty.address));
    await expect(client.get({ appId: 'wxc' })).rejects.toThrow(/its log has the cause/);
    await expect(client.forceRefresh({ appId: 'wxc' })).rejects.toThrow(/its log has the cause/);
    await expect(client.watchToken({})[Symbol.asyncIterator]().next()).rejects.toThrow(/its log has the cause/);
    expect(broken.faults).toHaveLength(3);
    await faulty.stop();
  });
});

describe('a compressed request', () => {
  const GET = '/lingpai.v1.TokenService/Get';

  it.each([
    ['Connect', GET, 'application/json', 'content-encoding', 'gzip', 'accept-encoding'],
    ['Connect streams', WATCH, 'application/connect+json', 'connect-content-encoding', 'br', 'connect-accept-encoding'],
    ['gRPC-Web', GET, 'application/grpc-web+proto', 'grpc-encoding', 'gzip', 'grpc-accept-encoding'],
    ['gRPC-Web streams', WATCH, 'application/grpc-web+proto', 'grpc-encoding', 'deflate', 'grpc-accept-encoding'],
    ['HTTP, around a stream', WATCH, 'application/connect+json', 'content-encoding', 'gzip', 'accept-encoding'],
  ])('is refused by %s before its body has come', async (_, path, type, header, encoding, accept) => {
    const asked = request(base + path, { method: 'POST', headers: { 'content-type': type, [header]: encoding } });
    // Only the head is sent.
    asked.flushHeaders();
    const [response] = await once(asked, 'response');
    expect(response.headers[accept]).toBe('identity');
    const chunks = await response.setEncoding('utf8').toArray();
    expect(decodeURIComponent(chunks.join(''))).toContain('compressed requests are not taken');
    asked.destroy();
    await until(() => mounted.calls.length === 1);
    expect(mounted.calls[0]).toMatch(/ UNIMPLEMENTED$/);
  });

  it('may say that it is not compressed, and the answer never is', async () => {
    const body = JSON.stringify({ appId: 'wxc' });
    const headers = { 'content-encoding': 'identity', 'accept-encoding': 'gzip, br' };
    const response = await post('Get', body, headers);
    expect([response.status, response.headers.get('content-encoding')]).toEqual([200, null]);
  });
});

function transport(address: string) {
  return createConnectTransport({ baseUrl: `http://${address}`, httpVersion: '1.1' });
}

describe.each([
  ['Connect', () => transport(listener.address)],
  ['gRPC-Web', () => createGrpcWebTransport({ baseUrl: base, httpVersion: '1.1' })],
])('a %s client', (_, create) => {
  it('calls and watches', async () => {
    const client = createClient(TokenService, create());
    expect((await client.get({ appId: 'wxc' })).state?.current?.value).toBe(world.token());
    const caller = new AbortController();
    const events = client.watchToken({ appIds: ['wxc'] }, { signal: caller.signal })[Symbol.asyncIterator]();
    expect((await events.next()).value.event).toMatchObject({ case: 'state', value: { appId: 'wxc' } });
    await world.broker.forceRefresh('wxc', undefined);
    expect((await events.next()).value.event.value.current.value).toBe(world.token());
    caller.abort();
    await until(() => world.broker.watchers === 0);
    await until(() => mounted.calls.length === 2);
    expect(mounted.calls).toEqual(['TokenService/Get OK', 'TokenService/WatchToken CANCELLED']);
  });

  it('gets the error that ends a stream, with its details', async () => {
    const client = createClient(TokenService, create());
    const events = client.watchToken({ appIds: ['wxc'] })[Symbol.asyncIterator]();
    await events.next();
    const drained = world.broker.drain(SECOND);
    expect((await events.next()).value.event.case).toBe('goaway');
    const error = await events.next().catch((reason) => reason);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'DRAINING', domain: 'lingpai' }]);
    await drained;
    await until(() => mounted.calls.length === 1);
    expect(mounted.calls).toEqual(['TokenService/WatchToken UNAVAILABLE']);
  });
});

describe('P9: a reader that does not read', () => {
  it('is ended, and its memory is freed', async () => {
    let asked = 0;
    let released = 0;
    let control: StreamControl | undefined;
    const impl = {
      ...mounted.services[0]?.impl,
      async *watchToken(_: unknown, context: HandlerContext) {
        streamControlOf(context).onClose(() => {
          released++;
        });
        control = streamControlOf(context);
        for (;;) {
          asked++;
          yield { event: { case: 'state', value: { statusReason: 'x'.repeat(512 * 1024) } } };
        }
      },
    };
    const fountain = new Mounted(world.clock, { desc: TokenService, impl } as unknown as Service);
    const source = await serve(fountain);
    const stuck = request(`http://${source.address}${WATCH}`, {
      method: 'POST',
      headers: { 'content-type': 'application/connect+json' },
    }).end(watchBody());
    stuck.on('error', () => {});
    const [response] = await once(stuck, 'response');
    response.pause();
    response.on('error', () => {});
    // Windows and buffers fill, and then nothing more is asked for.
    for (let before = -1, still = 0; still < 50; still = asked === before ? still + 1 : 0) {
      before = asked;
      await new Promise(setImmediate);
    }
    const closed = new Promise((resolve) => response.once('close', resolve));
    control?.end(new LingpaiError('not read', { reason: 'WATCHER_STALLED' }));
    await until(() => released === 1);
    const held = asked;
    response.resume();
    await closed;
    expect(response.complete).toBe(false);
    expect(asked).toBe(held);
    expect(fountain.calls).toEqual(['TokenService/WatchToken RESOURCE_EXHAUSTED']);
    await source.stop();
  });

  it('that disconnects while stalled is released', async () => {
    const stuck = request(`${base}${WATCH}`, {
      method: 'POST',
      headers: { 'content-type': 'application/connect+json' },
    }).end(watchBody());
    await once(stuck, 'response');
    expect(world.broker.watchers).toBe(1);
    stuck.destroy();
    await until(() => world.broker.watchers === 0);
  });
});

describe('pages', () => {
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(base + path, init);
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
  };

  it('/livez is alive whatever the tokens are', async () => {
    world.broker.configure([]);
    expect(await get('/livez')).toMatchObject({ status: 200, body: 'ok\n' });
    expect(await get('/livez?verbose', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  });

  it('/readyz is ready when it serves, and asked for apps when every one has a token', async () => {
    for (const path of ['/readyz', '/readyz?apps'])
      expect(await get(path)).toMatchObject({ status: 503, body: expect.stringContaining('"serving":false') });
    listener.setServing(true);
    expect(await get('/readyz')).toMatchObject({ status: 200, body: '{"ready":true,"serving":true}\n' });
    const ready = await get('/readyz?apps');
    expect(ready.status).toBe(200);
    expect(JSON.parse(ready.body)).toEqual({ ready: true, serving: true, apps: [] });
  });

  it("an app's wrong secret takes no process out of service; /readyz?apps says which has no token, and why", async () => {
    listener.setServing(true);
    world.break({ kind: 'error', errcode: -1 } as never);
    world.broker.configure([...world.apps, { appId: 'wxnew', secret: 'hush', issuer: 'stable' }]);
    await world.clock.advance(10 * SECOND);
    expect((await get('/readyz')).status).toBe(200);
    const { status, body } = await get('/readyz?apps');
    expect(status).toBe(503);
    expect(JSON.parse(body)).toEqual({
      ready: false,
      serving: true,
      apps: [{ app_id: 'wxnew', status: 'PENDING', status_reason: expect.stringMatching(/./) }],
    });
    expect(body).not.toContain('hush');
    expect(body).not.toContain(world.token());
  });

  it('/metrics is what the registry says', async () => {
    expect(await get('/metrics')).toEqual({
      status: 200,
      type: 'text/plain; version=0.0.4',
      body: 'lingpai_up 1\n',
    });
  });

  it('anything else is told what there is', async () => {
    const { status, body } = await get('/');
    expect(status).toBe(404);
    for (const path of ['/livez', '/readyz', '/metrics', 'POST /lingpai.v1.TokenService/Get'])
      expect(body).toContain(path);
    expect(await get('/metrics', { method: 'POST' })).toMatchObject({ status: 405 });
  });

  it('no answer allows a web page of another origin to read it', async () => {
    const response = await post('Get', '{"appId":"wxc"}', { origin: base });
    expect(response.status).toBe(200);
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('requests that are no good HTTP', () => {
  it.each([
    'POST /lingpai.v1.TokenService/Get HTTP/1.1\r\nHost: a b[\r\nContent-Length: 0\r\n\r\n',
    'POST /lingpai.v1.TokenService/Get HTTP/1.0\r\nContent-Length: 0\r\n\r\n',
  ])('are refused and harm nobody: %j', async (text) => {
    const [host, port] = listener.address.split(':');
    const socket = connect(Number(port), host);
    socket.write(text);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 400/);
    socket.destroy();
    expect((await fetch(`${base}/livez`)).status).toBe(200);
  });
});

describe('a caller that leaves', () => {
  it.each([
    ['Get', 'application/json'],
    ['WatchToken', 'application/connect+json'],
    ['Get', 'application/grpc-web+proto'],
  ])("in the middle of its %s as %s is nobody's fault", async (method, type) => {
    const asked = request(`${base}/lingpai.v1.TokenService/${method}`, {
      method: 'POST',
      headers: { 'content-type': type, 'content-length': '1000' },
    });
    asked.on('error', () => {});
    const [arrived] = [new Promise((resolve) => asked.once('socket', (socket) => socket.once('connect', resolve)))];
    asked.write('{"appId"');
    await arrived;
    asked.destroy();
    await until(() => mounted.calls.length === 1);
    expect(mounted.calls).toEqual([`TokenService/${method} CANCELLED`]);
  });
});

describe('drain and stop', () => {
  it('lets a call in progress finish, and accepts no other connection', async () => {
    const waiting = post('Get', `{"appId":"wxc","minGeneration":"${world.state().generation + 1}"}`);
    const pending = world.clock.pending;
    // The connection's timer is one, and the call's another.
    await until(() => world.clock.pending > pending + 1);
    const drained = listener.drain(20 * SECOND);
    await expect(fetch(`${base}/livez`)).rejects.toThrow();
    await world.broker.forceRefresh('wxc', undefined);
    expect(await (await waiting).text()).toContain(world.token());
    await drained;
  });

  it('is not held up by requests that do not come whole', async () => {
    const half = request(`${base}/lingpai.v1.TokenService/Get`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': '100' },
    });
    const failed = once(half, 'error');
    half.write('{');
    const waiting = post('Get', `{"appId":"wxc","minGeneration":"${world.state().generation + 1}"}`);
    const pending = world.clock.pending;
    // Two connections' timers, and the call's.
    await until(() => world.clock.pending > pending + 2);
    const drained = listener.drain(20 * SECOND);
    await world.clock.advance(4_999);
    await world.clock.advance(1);
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }]);
    await world.broker.forceRefresh('wxc', undefined);
    expect(await (await waiting).text()).toContain(world.token());
    await drained;
  });

  it('ends what is left at the limit', async () => {
    const waiting = post('Get', '{"appId":"wxc","minGeneration":"9007199254740991"}');
    const failed = expect(waiting).rejects.toThrow();
    const pending = world.clock.pending;
    // The connection's timer is one, and the call's another.
    await until(() => world.clock.pending > pending + 1);
    const drained = listener.drain(20 * SECOND);
    await world.clock.advance(20 * SECOND);
    await drained;
    await failed;
  });
});

describe('an address that cannot be listened on', () => {
  it('is named, with what to do', async () => {
    const port = Number(listener.address.split(':')[1]);
    const options = { ...HTTP, ...mounted, listen: { host: '127.0.0.1', port } };
    await expect(startHttp(options)).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}: another process listens there; stop it, or choose another port in http.listen`,
    );
  });
});
