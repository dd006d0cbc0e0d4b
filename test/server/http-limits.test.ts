import { EventEmitter, once } from 'node:events';
import { request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LOCAL } from '../../src/core/access/principal.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { type Refusal, Tally } from '../../src/server/connections.ts';
import { type HttpOptions, startHttp } from '../../src/server/http.ts';
import { Answers } from '../../src/server/http-answers.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Authenticate } from '../../src/transport/head.ts';
import type { Service } from '../../src/transport/service.ts';
import { HTTP, Mounted, STALL_TIMEOUT_MS, until } from '../support/rpc.ts';
import { World } from '../support/world.ts';

const GET = '/lingpai.v1.TokenService/Get';
const HOST = 'Host: localhost\r\n';

let world: World;
let mounted: Mounted;
let listener: Listener;
const clients: Socket[] = [];

async function serve(options: Partial<HttpOptions> = {}): Promise<string> {
  listener = await startHttp({ ...HTTP, ...mounted, ...options });
  return `http://${listener.address}`;
}

/** A connection that says what it is told to, and what came back. */
function dial(text = '', options: { reads?: boolean } = {}) {
  const [host = '', port] = listener.address.split(':');
  const socket = connect(Number(port), host);
  clients.push(socket);
  const said = { text: '', code: '' };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    said.code = error.code ?? '';
  });
  if (options.reads === false) socket.pause();
  else
    socket.setEncoding('latin1').on('data', (data: string) => {
      said.text += data;
    });
  socket.write(text);
  return { socket, said, closed: new Promise((resolve) => socket.once('close', resolve)) };
}

function get(path: string, headers: Record<string, string>): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const asked = request(`http://${listener.address}${path}`, { headers }, async (response) => {
    const chunks = await response.setEncoding('utf8').toArray();
    resolve({ status: response.statusCode ?? 0, text: chunks.join('') });
  });
  asked.on('error', reject).end();
  return promise;
}

beforeEach(async () => {
  world = await World.started({ apps: { wxc: 'classic' } });
  mounted = new Mounted(world.clock, world.broker);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await listener.stop();
  await world.broker.stop();
  expect(mounted.faults).toEqual([]);
});

describe('the guard', () => {
  it.each(['localhost', 'LocalHost:80', '127.0.0.1:9', '[::1]:7680', 'lingpai.internal:443'])(
    'of a loopback listener lets Host %s in',
    async (host) => {
      await serve({ hosts: ['Lingpai.internal'] });
      expect((await get('/metrics', { host })).status).toBe(200);
    },
  );

  it.each(['evil.example', 'localhost.evil.example', '10.0.0.1', '0.0.0.0:7680', '127.0.0.1.evil.example'])(
    'of a loopback listener sends Host %s away, RPCs too, and says what to do',
    async (host) => {
      await serve({ hosts: ['lingpai.internal'] });
      for (const path of ['/metrics', '/', GET]) {
        const { status, text } = await get(path, { host });
        expect(status).toBe(421);
        expect(text).toContain('this listener answers to localhost, 127.0.0.1, [::1], lingpai.internal');
      }
    },
  );

  it('reads no token to a page whose name was made to lead here', async () => {
    await serve();
    const body = '{"appId":"wxc"}';
    const head = `POST ${GET} HTTP/1.1\r\nHost: evil.example:7680\r\nOrigin: http://evil.example:7680\r\nContent-Type: application/json\r\n`;
    const { said } = dial(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    await until(() => said.text.includes('\r\n\r\n'));
    expect(said.text).toMatch(/^HTTP\/1\.1 421 /);
    expect(said.text).not.toContain(world.token());
  });

  it('beyond loopback lets any Host in, unless some are named', async () => {
    await serve({ listen: { host: '0.0.0.0', port: 0 } });
    expect((await get('/metrics', { host: '10.1.2.3:7680' })).status).toBe(200);
    await listener.stop();
    await serve({ listen: { host: '0.0.0.0', port: 0 }, hosts: ['lingpai.internal'] });
    expect((await get('/metrics', { host: 'lingpai.internal' })).status).toBe(200);
    expect((await get('/metrics', { host: '10.1.2.3' })).status).toBe(421);
  });

  it('answers probes by any Host, and names apps to none', async () => {
    await serve();
    listener.setServing(true);
    const host = '10.1.2.3:7680';
    for (const path of ['/livez', '/readyz']) expect((await get(path, { host })).status).toBe(200);
    expect((await get('/readyz?apps', { host })).status).toBe(421);
  });

  it.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:3000' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
  ])('sends a page of another origin away, whoever it asks: %o', async (headers) => {
    await serve({ listen: { host: '0.0.0.0', port: 0 } });
    for (const path of ['/livez', '/readyz', '/metrics', GET])
      expect(await get(path, headers)).toEqual({
        status: 403,
        text: 'a web page of another origin may not call this broker\n',
      });
  });
});

describe('connections', () => {
  it('are capped, and that is told', async () => {
    const refusals: Refusal[] = [];
    await serve({ limits: { inAll: 2, perPeer: 2 }, onRefused: (refusal) => refusals.push(refusal) });
    const held = [dial(), dial()];
    await Promise.all(held.map(({ socket }) => once(socket, 'connect')));
    await dial().closed;
    expect(refusals).toEqual([{ cap: 'inAll', connections: 2, peer: '127.0.0.1', refused: 1 }]);
  });

  it('of streams are counted apart, once their callers are let in', async () => {
    const lasting = new Tally({ inAll: 3, perPeer: 3 });
    const refused: ConnectError[] = [];
    const authenticate: Authenticate = ({ headers }) => {
      if (headers.authorization) return LOCAL;
      throw new LingpaiError('who are you?', { reason: 'CREDENTIALS_MISSING' });
    };
    const toError = (error: unknown) => {
      const status = mounted.toError(error);
      refused.push(status);
      return status;
    };
    await serve({ limits: { inAll: 2, perPeer: 2 }, lasting, authenticate, toError });
    const stream = (authorization = '') => {
      const body = '\0\0\0\0\x02{}';
      const head = `POST /lingpai.v1.TokenService/WatchToken HTTP/1.1\r\n${HOST}${authorization}`;
      return dial(`${head}Content-Type: application/connect+json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    };
    const streams = [];
    for (let i = 0; i < 3; i++) {
      streams.push(stream('Authorization: Bearer it\r\n'));
      await until(() => world.broker.watchers === i + 1);
    }
    expect(lasting.full('127.0.0.1')).toMatchObject({ cap: 'inAll' });
    streams.pop()?.socket.destroy();
    await until(() => lasting.full('127.0.0.1') === undefined);
    // What gets no stream stays among strangers, and so does what has none any more.
    const again = get('/lingpai.v1.TokenService/WatchToken', { authorization: 'Bearer it' });
    expect((await again).status).toBe(405);
    expect(lasting.full('127.0.0.1')).toBeUndefined();
    // A stranger that asks for one stays among strangers.
    const strangers = [stream(), dial()];
    await until(() => refused.length > 0 && strangers.every(({ socket }) => !socket.connecting));
    await dial().closed;
    expect(lasting.full('127.0.0.1')).toBeUndefined();
  });

  it.each(['', 'GET /livez HTTP/1.1\r\nHo'])('that say %j and nothing more end', async (text) => {
    await serve();
    const { socket, closed } = dial(text);
    await once(socket, 'connect');
    await until(() => world.clock.pending > 0);
    // Whether it was accepted by now shows in nothing else.
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
    await world.clock.advance(10_000);
    await closed;
  });
});

describe('a connection that pipelines', () => {
  const one = `GET /metrics HTTP/1.1\r\n${HOST}\r\n`;

  it('is answered in order', async () => {
    await serve({ metrics: { contentType: 'text/plain', metrics: async () => 'figures' } });
    const { said } = dial(one.repeat(16));
    await until(() => said.text.split('figures').length === 17);
  });

  it('has its 16 again once they are answered', async () => {
    await serve({ metrics: { contentType: 'text/plain', metrics: async () => 'figures' } });
    const { socket, said } = dial();
    for (const times of [1, 2, 3]) {
      socket.write(one.repeat(16));
      await until(() => said.text.split('figures').length === 16 * times + 1);
    }
    expect(said.code).toBe('');
  });

  it('that leaves takes all its requests along, those too whose turn had not come', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    await serve({ metrics: { contentType: 'text/plain', metrics: () => promise } });
    const body = '{"appId":"wxc"}';
    const post = `POST ${GET} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const pending = world.clock.pending;
    const { socket } = dial(one.repeat(8) + post.repeat(8));
    // Those that are answered and wait for their turn have a timer each, and the connection one.
    await until(() => world.clock.pending === pending + 9);
    socket.destroy();
    await until(() => mounted.calls.length === 8);
    resolve('');
    await until(() => world.clock.pending === pending);
  });

  it('is reset when it has more than 16 requests unanswered, and no more than these are begun', async () => {
    let begun = 0;
    const { promise, resolve } = Promise.withResolvers<string>();
    const metrics = () => {
      begun++;
      return promise;
    };
    await serve({ metrics: { contentType: 'text/plain', metrics } });
    const { said, closed } = dial(one.repeat(1_000));
    await closed;
    expect([begun, said.code, said.text]).toEqual([16, 'ECONNRESET', '']);
    resolve('');
  });
});

describe('an answer that nobody reads', () => {
  const large = 'x'.repeat(16 * 1024 * 1024);

  it('of a page is given up, and its connection reset', async () => {
    await serve({ metrics: { contentType: 'text/plain', metrics: async () => large } });
    const { socket, said, closed } = dial(`GET /metrics HTTP/1.1\r\n${HOST}\r\n`, { reads: false });
    await once(socket, 'readable');
    await until(() => world.clock.pending > 0);
    await world.clock.advance(STALL_TIMEOUT_MS - 1);
    expect(socket.destroyed).toBe(false);
    await world.clock.advance(1);
    socket.resume();
    await closed;
    expect(said.code).toBe('ECONNRESET');
  });

  it('of an RPC is given up, and what it held is free', async () => {
    const impl = { get: () => ({ state: { statusReason: 'x'.repeat(1_000_000) } }) };
    await serve({ services: [{ desc: TokenService, impl } as unknown as Service] });
    const body = '{"appId":"wxc"}';
    const head = `POST ${GET} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    // Sixteen of them are more than the system takes for a peer that does not read.
    const { socket, said, closed } = dial((head + body).repeat(16), { reads: false });
    await once(socket, 'readable');
    await until(() => mounted.calls.length > 0);
    await world.clock.advance(2 * STALL_TIMEOUT_MS);
    socket.resume();
    await closed;
    expect(said.code).toBe('ECONNRESET');
    await until(() => mounted.calls.length === 16);
  });

  it('is given up at once where more than 24 MiB of them are unread, the oldest first', async () => {
    await serve({ metrics: { contentType: 'text/plain', metrics: async () => large } });
    const ask = async () => {
      const client = dial(`GET /metrics HTTP/1.1\r\n${HOST}\r\n`, { reads: false });
      await once(client.socket, 'readable');
      return client;
    };
    const [first, second] = [await ask(), await ask()];
    first.socket.resume();
    await first.closed;
    expect(first.said.code).toBe('ECONNRESET');
    expect(second.socket.destroyed).toBe(false);
  });

  it('in time is not cut by a drain', async () => {
    await serve({ metrics: { contentType: 'text/plain', metrics: async () => large } });
    const { socket, closed } = dial(`GET /metrics HTTP/1.1\r\n${HOST}\r\n`, { reads: false });
    await once(socket, 'readable');
    const drained = listener.drain(20_000);
    let read = 0;
    socket.on('data', (data) => {
      read += data.length;
    });
    await closed;
    expect(read).toBeGreaterThan(large.length);
    await drained;
  });

  it('counts by what it holds once it is written, where it is decided before', async () => {
    const reset: number[] = [];
    const answers = new Answers(world.clock, STALL_TIMEOUT_MS);
    const written = [0, 1, 2].map((name) => {
      const socket = { resetAndDestroy: () => reset.push(name) };
      return Object.assign(new EventEmitter(), { writableLength: 0, closed: false, socket, req: { socket } });
    });
    for (const response of written) {
      answers.complete(response as unknown as ServerResponse);
      response.writableLength = 10 * 1024 * 1024;
    }
    expect(reset).toEqual([]);
    await new Promise(setImmediate);
    expect(reset).toEqual([0]);
    for (const response of written) response.emit('close');
  });

  it('but waits for another of the same connection is not', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    await serve({ metrics: { contentType: 'text/plain', metrics: () => promise } });
    const pending = world.clock.pending;
    const { said } = dial(`GET /metrics HTTP/1.1\r\n${HOST}\r\nGET /livez HTTP/1.1\r\n${HOST}\r\n`);
    // The connection's own, and that of the answer which waits.
    await until(() => world.clock.pending === pending + 2);
    await world.clock.advance(3 * STALL_TIMEOUT_MS);
    resolve('figures');
    await until(() => said.text.includes('ok\n'));
    expect(said.text).toContain('figures');
  });
});

describe('request bodies', () => {
  it('hold so much in all; who comes with more is told to wait, and small ones always pass', async () => {
    const base = await serve();
    const post = (headers: string, body: string) => {
      const head = `POST ${GET} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${headers}\r\n`;
      return dial(head + body);
    };
    // Each holds nearly 1 MiB and never ends.
    const stuck = Array.from({ length: 16 }, () => post('Content-Length: 1048576\r\n', ' '.repeat(1_048_575)));
    // Eight of them find room, and a little of each is free.
    const answered = () => stuck.filter(({ said }) => said.text !== '' || said.code !== '');
    await until(() => answered().length === 8);
    const texts = stuck.map(({ said }) => said.text).filter((text) => text !== '');
    expect(texts.length).toBeGreaterThan(0);
    for (const text of texts) {
      expect(text).toMatch(/^HTTP\/1\.1 429 /);
      expect(text).toContain('too many large requests are under way');
    }
    const small = await fetch(base + GET, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"appId":"wxc"}',
    });
    expect(small.status).toBe(200);
    for (const { socket } of stuck) socket.destroy();
    await until(() => mounted.calls.length === 17);
    // All of it is free again.
    const again = post('Content-Length: 1048576\r\n', `{"appId":"wxc"}${' '.repeat(1_048_561)}`);
    await until(() => again.said.text !== '');
    expect(again.said.text).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('of a head that is too large are not read', async () => {
    await serve();
    const { said } = dial(`GET /livez HTTP/1.1\r\n${HOST}x: ${'x'.repeat(8_192)}\r\n\r\n`);
    await until(() => said.text !== '');
    expect(said.text).toMatch(/^HTTP\/1\.1 431 /);
  });
});
