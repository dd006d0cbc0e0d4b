import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { RequestListener, Server } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { WeChatClient } from '../../src/wechat/client.ts';
import { FakeClock } from '../support/clock.ts';
import {
  APP,
  CHANNELS,
  clientOf,
  deliveryOf,
  failureOf,
  listen,
  never,
  TOKEN,
  tlsServer,
  trustTestCertificate,
  tunnelling,
} from './support.ts';

const ANSWER = JSON.stringify({ access_token: TOKEN, expires_in: 7200, errcode: 0, errmsg: 'ok', msgid: 1 });

/** What must happen once at most. */
const CALLS = {
  'a mint': (client: WeChatClient) => client.fetchToken(APP, 'classic', never()),
  'a forced mint': (client: WeChatClient) => client.fetchToken(APP, 'stable_force', never()),
  'a message': (client: WeChatClient) => client.send(deliveryOf(CHANNELS.subscribe), TOKEN, never()),
} as const;
const EACH_CALL = Object.entries(CALLS);

/** What a server saw: each request, by the connection that it came on. */
interface Seen {
  readonly listener: RequestListener;
  readonly connections: Socket[];
}

function answering(): Seen {
  const connections: Socket[] = [];
  const listener: RequestListener = (request, response) => {
    connections.push(request.socket);
    response.end(ANSWER);
  };
  return { listener, connections };
}

/** A server that promises to keep idle connections for ten minutes. */
async function promising(server: Server): Promise<string> {
  server.keepAliveTimeout = 600_000;
  onTestFinished(() => server.closeAllConnections());
  return await listen(server);
}

const WAYS: Readonly<Record<string, (seen: Seen) => Promise<WeChatClient>>> = {
  directly: async ({ listener }) => clientOf(await promising(createServer(listener))),
  'through a proxy': async ({ listener }) =>
    clientOf('http://wechat.test', { proxy: await promising(createServer(listener)) }),
  'over TLS through a tunnel of a proxy': async ({ listener }) => {
    trustTestCertificate();
    const wechat = await promising(tlsServer(listener));
    return clientOf(wechat.replace('http:', 'https:'), { proxy: await listen(tunnelling(createServer())) });
  },
};

test.each(Object.keys(WAYS).flatMap((way) => EACH_CALL.map(([what, call]) => [what, way, call] as const)))(
  '%s %s is not sent on a connection that was idle for 4 s, whatever Keep-Alive promises',
  async (_, way, call) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const seen = answering();
    const client = (await WAYS[way]?.(seen)) as WeChatClient;
    for (const idleMs of [0, 3_999, 4_000]) {
      vi.advanceTimersByTime(idleMs);
      await call(client);
      await free();
    }
    const [first, second, third] = seen.connections;
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  },
);

/** The HTTP client takes a connection for free when it has read all that came in. */
async function free(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

/** A server that answers and keeps the connection; `onRequest` is told of each request, and may answer false to leave it. */
async function keeping(onRequest: (count: number, socket: Socket) => boolean = () => true) {
  const sockets: Socket[] = [];
  let requests = 0;
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => {
      // Whatever is sent here fits into one piece.
      if (!onRequest(++requests, socket)) return;
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`);
    });
  });
  const url = await listen(server);
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { url, sockets, requests: () => requests };
}

test.each(EACH_CALL)(
  '%s is not sent on a connection that the machine slept over; what is under way is left alone',
  async (_, call) => {
    const clock = new FakeClock();
    const hanging = Promise.withResolvers<Socket>();
    const server = await keeping((count, socket): boolean => {
      if (count === 2) hanging.resolve(socket);
      return count !== 2;
    });
    const client = clientOf(server.url, { clock });
    await call(client);
    await free();
    const underWay = call(client);
    const socket = await hanging.promise;
    clock.sleep(3_999);
    await call(client);
    await free();
    clock.sleep(4_000);
    await call(client);
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`);
    await underWay;
    expect([server.requests(), server.sockets.length]).toEqual([4, 3]);
  },
);

test('what was under way when the machine slept ends with the client', async () => {
  const clock = new FakeClock();
  const arrived = Promise.withResolvers<void>();
  const server = await keeping((count) => {
    if (count === 1) arrived.resolve();
    return count !== 1;
  });
  const client = clientOf(server.url, { clock });
  const failure = failureOf(CALLS['a mint'](client));
  await arrived.promise;
  clock.sleep(60_000);
  await CALLS['a mint'](client);
  await client.close();
  expect(await failure).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
});

/** Ends a connection by RST, before this returns. */
function reset(socket: Socket | undefined): void {
  (socket as unknown as { _handle: { reset(done: () => void): void } })._handle.reset(() => {});
}

test.each(EACH_CALL)('%s is sent on another connection when its own was reset while it was idle', async (_, call) => {
  const server = await keeping();
  const client = clientOf(server.url);
  await call(client);
  await free();
  reset(server.sockets[0]);
  await call(client);
  expect([server.requests(), server.sockets.length]).toEqual([2, 2]);
});

test.each(EACH_CALL)('%s is sent on another connection when its own was closed while it was idle', async (_, call) => {
  const server = await keeping();
  const client = clientOf(server.url);
  await call(client);
  await free();
  server.sockets[0]?.destroy();
  await call(client);
  expect([server.requests(), server.sockets.length]).toEqual([2, 2]);
});

/** Calls `fn` once, between the last look at a connection and the writing of a request. */
function beforeWriting(fn: () => void): void {
  const once = (): void => {
    unsubscribe('undici:client:sendHeaders', once);
    fn();
  };
  subscribe('undici:client:sendHeaders', once);
}

test.each(EACH_CALL)('%s is sent once more when the system took no byte of it', async (_, call) => {
  const server = await keeping();
  const client = clientOf(server.url);
  await call(client);
  await free();
  beforeWriting(() => reset(server.sockets[0]));
  await call(client);
  expect([server.requests(), server.sockets.length]).toEqual([2, 2]);
});

test.each(
  EACH_CALL.flatMap(([what, call]) => [
    [what, 'reset', (socket: Socket): void => reset(socket), call] as const,
    [what, 'closed', (socket: Socket): void => void socket.end(), call] as const,
  ]),
)('%s that was taken is not sent again when its reused connection is %s', async (_, __, end, call) => {
  const server = await keeping((count, socket): boolean => {
    if (count === 2) end(socket);
    return count !== 2;
  });
  const client = clientOf(server.url);
  await call(client);
  await free();
  expect(await failureOf(call(client))).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
  await call(client);
  expect(server.requests()).toBe(3);
});
