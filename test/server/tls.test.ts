import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect, getCACertificates, setDefaultCACertificates, TLSSocket } from 'node:tls';
import { create, toBinary } from '@bufbuild/protobuf';
import { StringValueSchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { LOCAL } from '../../src/core/access/principal.ts';
import type { ConnectionLimits } from '../../src/server/connections.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Tls } from '../../src/server/tls.ts';
import type { Service } from '../../src/transport/service.ts';
import { issue } from '../support/certificates.ts';
import { FakeClock } from '../support/clock.ts';
import { echo } from '../support/echo.ts';
import { framed, RawConnection } from '../support/raw-http2.ts';
import { grpcOf, HTTP, Mounted, STALL_TIMEOUT_MS, until } from '../support/rpc.ts';

const DAY_MS = 86_400_000;
const SAY = '/test.Echo/Say';
const WATCH = '/grpc.health.v1.Health/Watch';
const HELLO = toBinary(StringValueSchema, create(StringValueSchema, { value: 'hello' }));

const ECHO: Service = { desc: echo(), impl: { say: (message: unknown) => message, async *chat() {} } as never };

const names = ['dns:localhost', 'ip:127.0.0.1'];
const ca = issue({ name: 'servers', isCa: true });
const server = issue({ name: 'server', names, by: ca });
const renewed = issue({ name: 'renewed', names, by: ca });
const clientCa = issue({ name: 'clients', isCa: true });
const otherCa = issue({ name: 'others', isCa: true });
const client = issue({ name: 'client', names: ['dns:orders'], by: clientCa });
const TLS: Tls = { cert: server.cert, key: server.key, clientCa: clientCa.cert };

let clock: FakeClock;
let mounted: Mounted;
let listener: Listener;
/** Who called, as the door saw them. */
let seen: (Socket | undefined)[];
const sockets: Socket[] = [];
const raws: RawConnection[] = [];

async function serve(kind: string, tls: Tls, limits: ConnectionLimits = { inAll: 1_000, perPeer: 1_000 }) {
  mounted = new Mounted(clock, ECHO);
  const options = {
    tls,
    authenticate: ({ socket }: { socket: Socket | undefined }) => {
      seen.push(socket);
      return LOCAL;
    },
  };
  listener =
    kind === 'grpc'
      ? await startGrpc({ ...grpcOf(mounted), ...options, connections: limits })
      : await startHttp({ ...HTTP, ...mounted, ...options, limits });
}

function port(): number {
  return Number(listener.address.split(':')[1]);
}

/** A TCP connection that has said nothing. */
async function tcp(localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connectTcp({ port: port(), host: '127.0.0.1', localAddress });
  sockets.push(socket);
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'connect');
  return socket;
}

/** A way to the listener on which what follows the client's first words is held until it is released. */
async function slowWay() {
  const { promise: held, resolve: isHeld } = Promise.withResolvers<void>();
  const waiting: Buffer[] = [];
  let isOpen = false;
  let there: Socket | undefined;
  const way = createServer((here) => {
    const on = connectTcp(port(), '127.0.0.1');
    there = on;
    sockets.push(here, on);
    let words = 0;
    here
      .on('error', () => {})
      .on('data', (chunk) => {
        if (words++ === 0 || isOpen) on.write(chunk);
        else if (waiting.push(chunk) === 1) isHeld();
      });
    on.on('error', () => {}).on('close', () => here.destroy());
    on.on('data', (chunk) => here.write(chunk));
  });
  way.listen(0, '127.0.0.1').unref();
  await once(way, 'listening');
  const release = () => {
    isOpen = true;
    for (const chunk of waiting.splice(0)) there?.write(chunk);
  };
  return { port: (way.address() as AddressInfo).port, held, release };
}

/** A handshake: the connection, or why there is none. */
function dial(options: ConnectionOptions = {}): Promise<TLSSocket | string> {
  const { promise, resolve } = Promise.withResolvers<TLSSocket | string>();
  const socket = connect({ port: port(), host: '127.0.0.1', servername: 'localhost', ca: ca.cert, ...options }, () =>
    resolve(socket),
  );
  sockets.push(socket);
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  socket.on('close', () => resolve('closed'));
  return promise;
}

function http2(options: ConnectionOptions = {}, to = port()): RawConnection {
  const raw = new RawConnection(`localhost:${to}`, undefined, {
    ca: ca.cert,
    lookup: (_, __, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    ...options,
  });
  raws.push(raw);
  return raw;
}

function https(path: string, options: ConnectionOptions & { headers?: IncomingHttpHeaders; body?: string } = {}) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; socket: TLSSocket }>();
  const { headers = { 'content-type': 'application/json' }, body, ...rest } = options;
  const method = body === undefined ? 'GET' : 'POST';
  const all = { host: 'localhost', port: port(), path, method, headers, ca: ca.cert, agent: false as const, ...rest };
  const asked = request({ ...all, family: 4 }, (response) => {
    response.resume().once('end', () => resolve({ status: response.statusCode, socket: response.socket as TLSSocket }));
  });
  asked.once('error', reject).end(body);
  return promise;
}

/** One call by a connection of its own. Its result is what the door saw. */
async function call(kind: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  if (kind === 'grpc') {
    using raw = http2(options);
    expect((await raw.call(SAY, framed(HELLO))).fields).toMatchObject({ 'grpc-status': '0' });
  } else expect((await https(SAY, { ...options, body: '"hello"' })).status).toBe(200);
  return seen.at(-1) as TLSSocket;
}

/** The name in the certificate that new connections get. */
async function served(): Promise<string> {
  const socket = await dial();
  if (typeof socket === 'string') return socket;
  const name = socket.getPeerX509Certificate()?.subject ?? '';
  socket.destroy();
  return name;
}

beforeEach(() => {
  clock = new FakeClock(Date.now());
  seen = [];
});

afterEach(async () => {
  for (const raw of raws.splice(0)) raw[Symbol.dispose]();
  for (const socket of sockets.splice(0)) socket.destroy();
  await listener.stop();
  expect(mounted.faults).toEqual([]);
});

describe.each(['grpc', 'http'])('%s over TLS', (kind) => {
  const protocol = kind === 'grpc' ? 'h2' : 'http/1.1';

  it('is served, and the door sees the connection with the certificate of its peer', async () => {
    await serve(kind, TLS);
    expect((await call(kind)).authorized).toBe(false);
    const socket = await call(kind, client);
    expect(socket).toBeInstanceOf(TLSSocket);
    expect(socket.authorized).toBe(true);
    expect(seen).toHaveLength(2);
  });

  it('believes no certificate of another CA, and no public one where no client CA is named', async () => {
    await serve(kind, TLS);
    const stranger = issue({ name: 'client', by: otherCa });
    expect((await call(kind, stranger)).authorized).toBe(false);
    await listener.stop();
    const defaults = getCACertificates('default');
    setDefaultCACertificates([otherCa.cert]);
    onTestFinished(() => setDefaultCACertificates(defaults));
    await serve(kind, { ...TLS, clientCa: null });
    expect((await call(kind, stranger)).authorized).toBe(false);
  });

  it('speaks its own protocol and no other, by TLS 1.2 at least', async () => {
    await serve(kind, TLS);
    const protocolWith = async (options: ConnectionOptions) => {
      const socket = await dial(options);
      return typeof socket === 'string' ? socket : socket.alpnProtocol;
    };
    expect(await protocolWith({ ALPNProtocols: ['h2', 'http/1.1'] })).toBe(protocol);
    expect(await protocolWith({ ALPNProtocols: ['spdy/1'] })).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    expect(await protocolWith({ ALPNProtocols: [protocol], maxVersion: 'TLSv1.2' })).toBe(protocol);
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    expect(await protocolWith(old)).toMatch(/PROTOCOL_VERSION|closed|ECONNRESET/);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('resumes no session of %s', async (maxVersion) => {
    await serve(kind, TLS);
    const first = (await dial({ ...client, maxVersion, ALPNProtocols: [protocol] })) as TLSSocket;
    let session = first.getSession();
    first.on('session', (found) => {
      session = found;
    });
    first.resume();
    await call(kind);
    const again = (await dial({ ...client, maxVersion, session, ALPNProtocols: [protocol] })) as TLSSocket;
    expect(again.isSessionReused()).toBe(false);
    first.destroy();
  });

  it('negotiates nothing anew', async () => {
    await serve(kind, TLS);
    const socket = (await dial({ ...client, maxVersion: 'TLSv1.2' })) as TLSSocket;
    const error = await new Promise((resolve) => {
      socket.once('error', resolve).once('close', () => resolve(new Error('closed')));
      socket.renegotiate({ rejectUnauthorized: false }, resolve);
    });
    expect(error).toBeInstanceOf(Error);
  });

  it('ends a handshake that takes more than 10 s, by the clock that it was given, and no call', async () => {
    await serve(kind, TLS);
    const [silent, half] = [await tcp(), await tcp()];
    half.write(Buffer.from([22, 3, 1, 2, 0]));
    let closed = 0;
    for (const socket of [silent, half]) socket.once('close', () => closed++);
    await call(kind);
    await clock.advance(9_000);
    await call(kind);
    expect(closed).toBe(0);
    await clock.advance(1_000);
    await until(() => closed === 2);
    await call(kind);
  });

  it.each([
    ['garbage', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['the preface of HTTP/2 without TLS', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
    ['a broken record', Buffer.from([22, 3, 1, 0, 4, 255, 255, 255, 255])],
  ])('ends a connection that begins with %s, and that one alone', async (_, bytes) => {
    await serve(kind, TLS);
    const other = (await dial({ ALPNProtocols: [protocol] })) as TLSSocket;
    const socket = await tcp();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(bytes);
    await closed;
    expect(other.destroyed).toBe(false);
    await call(kind);
  });

  it('is not harmed by peers that leave in the middle of a handshake', async () => {
    await serve(kind, TLS);
    const left = await Promise.all(Array.from({ length: 20 }, tcp));
    for (const [i, socket] of left.entries()) {
      socket.write(Buffer.from([22, 3, 1, 2, 0]));
      if (i % 2) socket.resetAndDestroy();
      else socket.destroy();
    }
    await call(kind);
  });

  it('counts unfinished handshakes as connections', async () => {
    await serve(kind, TLS, { inAll: 3, perPeer: 3 });
    const silent = await Promise.all([tcp(), tcp(), tcp()]);
    expect(await dial()).not.toBeInstanceOf(TLSSocket);
    silent[0]?.destroy();
    await until(() => silent[0]?.closed ?? false);
    await clock.advance(0);
    for (let socket = await dial(); typeof socket === 'string'; socket = await dial());
  });

  it('of too many handshakes, one of the address that has most gives way', async () => {
    await serve(kind, TLS);
    const slow = await tcp();
    const silent: Socket[] = [];
    for (let i = 0; i < 255; i++) silent.push(await tcp('127.0.0.2'));
    await clock.advance(0);
    await call(kind);
    await until(() => silent[0]?.closed ?? false);
    expect([slow, ...silent].filter(({ closed }) => closed)).toHaveLength(1);
  });

  it('has at most 256 handshakes under way: of more, the oldest gives way', async () => {
    await serve(kind, TLS);
    const silent: Socket[] = [];
    for (let i = 0; i < 256; i++) silent.push(await tcp());
    const isClosed = (socket: Socket | undefined) => socket?.closed ?? false;
    await clock.advance(0);
    expect(silent.filter(isClosed)).toEqual([]);
    await call(kind);
    await until(() => isClosed(silent[0]));
    expect(silent.filter(isClosed)).toHaveLength(1);
  });

  it('stops while handshakes are under way', async () => {
    await serve(kind, TLS);
    const silent = await tcp();
    await call(kind);
    const closed = new Promise((resolve) => silent.once('close', resolve));
    const draining = listener.drain(5_000);
    await closed;
    await clock.advance(1_000);
    await draining;
  });

  describe('with another certificate', () => {
    it.each([
      ['a key of another', { ...TLS, key: renewed.key }],
      ['half a certificate', { ...TLS, cert: renewed.cert.slice(0, 300), key: renewed.key }],
      ['a chain of which half is missing', { ...TLS, cert: server.cert + ca.cert.slice(0, 300) }],
      ['half a key', { ...TLS, cert: renewed.cert, key: renewed.key.slice(0, 60) }],
      ['no certificate', { ...TLS, cert: '' }],
      ['no key', { ...TLS, key: '' }],
      ['half a client CA', { ...TLS, clientCa: clientCa.cert + otherCa.cert.slice(0, 300) }],
      ['no client CA in its file', { ...TLS, clientCa: 'nothing' }],
      ['an empty file of client CAs', { ...TLS, clientCa: '' }],
    ])('of %s says so, and keeps what it has', async (_, tls) => {
      await serve(kind, TLS);
      expect(() => listener.setTls(tls)).toThrow(/^the (key|certificate file|key file|client CA file) (is|has) /);
      expect(await served()).toBe('CN=server');
      expect((await call(kind, client)).authorized).toBe(true);
    });

    it('does not begin with one that cannot be used', async () => {
      await serve(kind, TLS);
      await expect(startGrpc({ ...grpcOf(mounted), tls: { ...TLS, key: renewed.key } })).rejects.toThrow(
        'the key is not that of the certificate',
      );
    });

    it('serves it to new connections, and those that are open go on', async () => {
      await serve(kind, TLS);
      const open = await Promise.all(Array.from({ length: 10 }, () => dial({ ALPNProtocols: [protocol] })));
      listener.setTls({ ...TLS, cert: renewed.cert, key: renewed.key });
      expect(await served()).toBe('CN=renewed');
      for (const socket of open as TLSSocket[]) expect(socket.destroyed).toBe(false);
      listener.setTls(TLS);
      expect(await served()).toBe('CN=server');
    });

    it('asks for client certificates from when there is a client CA until there is none', async () => {
      await serve(kind, { ...TLS, clientCa: null });
      expect((await call(kind, client)).authorized).toBe(false);
      listener.setTls(TLS);
      expect((await call(kind, client)).authorized).toBe(true);
      listener.setTls({ ...TLS, clientCa: null });
      expect((await call(kind, client)).authorized).toBe(false);
    });
  });
});

it('a listener without TLS takes no certificate', async () => {
  mounted = new Mounted(clock, ECHO);
  listener = await startGrpc(grpcOf(mounted));
  expect(() => listener.setTls(TLS)).toThrow('restart the broker');
});

it('100 open streams go on over TLS when the certificate changes, and take calls', async () => {
  await serve('grpc', TLS);
  const connections = Array.from({ length: 10 }, () => http2(client));
  const streams = connections.flatMap((raw) =>
    Array.from({ length: 10 }, () => raw.open(WATCH, framed(Buffer.alloc(0)))),
  );
  let heard = 0;
  for (const stream of streams) stream.on('data', () => heard++);
  await until(() => heard === 100);
  listener.setTls({ ...TLS, cert: renewed.cert, key: renewed.key, clientCa: clientCa.cert + otherCa.cert });
  expect(await served()).toBe('CN=renewed');
  listener.setServing(true);
  await until(() => heard === 200);
  for (const raw of connections) {
    expect((await raw.call(SAY, framed(HELLO))).fields).toMatchObject({ 'grpc-status': '0' });
    expect(raw.goaways).toEqual([]);
  }
  expect(seen.every((socket) => (socket as TLSSocket).authorized)).toBe(true);
});

describe('a client certificate on an open connection', () => {
  /** A connection on which a stream is open, and the door's view of it. */
  async function watching(options: ConnectionOptions) {
    const raw = http2(options);
    const stream = raw.open(WATCH, framed(Buffer.alloc(0)));
    await once(stream, 'data');
    // Health is open: nobody is asked who watches it.
    await raw.call(SAY, framed(HELLO));
    return { raw, stream, socket: seen.at(-1) as TLSSocket };
  }

  it('is good no more when its CA has gone; the connection takes no new calls, and its streams go on', async () => {
    await serve('grpc', { ...TLS, clientCa: clientCa.cert + otherCa.cert });
    const one = await watching(client);
    const other = await watching(issue({ name: 'other', by: otherCa }));
    const none = await watching({});
    listener.setTls({ ...TLS, clientCa: otherCa.cert });
    await until(() => one.raw.goaways.length === 1);
    expect([one.socket.authorized, other.socket.authorized]).toEqual([false, true]);
    expect([one, other, none].map(({ stream }) => stream.closed)).toEqual([false, false, false]);
    expect([other.raw.goaways, none.raw.goaways]).toEqual([[], []]);
    expect((await call('grpc', client)).authorized).toBe(false);
  });

  it('also where a CA in between has gone, and where there are no client CAs any more', async () => {
    const between = issue({ name: 'between', isCa: true, by: clientCa });
    const below = issue({ name: 'below', by: between });
    await serve('grpc', { ...TLS, clientCa: clientCa.cert + between.cert });
    const { raw, socket } = await watching(below);
    expect(socket.authorized).toBe(true);
    listener.setTls({ ...TLS, clientCa: clientCa.cert });
    await until(() => raw.goaways.length === 1);
    expect(socket.authorized).toBe(false);
    const last = await watching(client);
    listener.setTls({ ...TLS, clientCa: null });
    await until(() => last.raw.goaways.length === 1);
    expect(last.socket.authorized).toBe(false);
  });

  it('is not good by a handshake that was begun while its CA was there, and ends when it has gone', async () => {
    await serve('grpc', { ...TLS, clientCa: clientCa.cert + otherCa.cert });
    const way = await slowWay();
    const raw = http2(client, way.port);
    const reached = raw.call(SAY, framed(HELLO));
    await way.held;
    listener.setTls({ ...TLS, clientCa: otherCa.cert });
    way.release();
    expect((await reached).fields).toEqual({});
    expect(seen).toEqual([]);
    // Where a CA comes, and none goes, whoever is on the way arrives.
    const another = await slowWay();
    const good = http2(issue({ name: 'other', by: otherCa }), another.port);
    const call = good.call(SAY, framed(HELLO));
    await another.held;
    listener.setTls({ ...TLS, clientCa: otherCa.cert + clientCa.cert });
    another.release();
    expect((await call).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it.each([
    ['that is a client CA too', true],
    // Of two, nobody can tell which one is above it: it ends, and its client shows it anew.
    ['that is none', false],
  ])('of an authority in between %s, when another CA goes', async (_, isKnown) => {
    const between = issue({ name: 'between', isCa: true, by: clientCa });
    const below = issue({ name: 'below', by: between });
    const known = clientCa.cert + (isKnown ? between.cert : '');
    await serve('grpc', { ...TLS, clientCa: known + otherCa.cert });
    const { raw, socket } = await watching({ cert: below.cert + between.cert, key: below.key });
    listener.setTls({ ...TLS, clientCa: known });
    // At once: nobody is let in by it in between.
    expect(socket.authorized).toBe(isKnown);
    const again = await watching({ cert: below.cert + between.cert, key: below.key });
    expect([again.socket.authorized, raw.goaways.length]).toEqual([true, isKnown ? 0 : 1]);
    // Of one alone everybody can.
    listener.setTls({ ...TLS, clientCa: known + otherCa.cert });
    listener.setTls({ ...TLS, clientCa: known });
    expect(again.socket.authorized).toBe(true);
  });

  it('stays good when other CAs come and go, and when its own is written once more in another place', async () => {
    const below = { ...client, cert: client.cert + clientCa.cert };
    await serve('grpc', { ...TLS, clientCa: otherCa.cert + clientCa.cert });
    const { raw, socket } = await watching(below);
    listener.setTls({ ...TLS, clientCa: clientCa.cert });
    listener.setTls({ ...TLS, clientCa: `# once more\n${clientCa.cert}${otherCa.cert}` });
    await call('grpc');
    expect([socket.authorized, raw.goaways]).toEqual([true, []]);
  });

  it('has the connection take no new calls when it has expired, so that a renewed one can be shown', async () => {
    const brief = issue({ name: 'brief', by: clientCa, notAfter: Date.now() + DAY_MS });
    await serve('grpc', TLS);
    const [one, other] = [await watching(brief), await watching(client)];
    await clock.advance(2_000);
    expect(one.raw.goaways).toEqual([]);
    clock.jump(DAY_MS);
    await clock.advance(1_000);
    await until(() => one.raw.goaways.length === 1);
    expect([one.stream.closed, other.raw.goaways]).toEqual([false, []]);
  });

  it('over HTTP: the connection ends when its request is answered', async () => {
    await serve('http', TLS);
    const socket = (await dial({ ...client, ALPNProtocols: ['http/1.1'] })) as TLSSocket;
    let said = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      said += text;
    });
    const head = `POST ${SAY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n`;
    socket.write(`${head}"hel`);
    await until(() => seen.length === 1);
    listener.setTls({ ...TLS, clientCa: otherCa.cert });
    await call('http');
    expect(said).toBe('');
    socket.write('lo"');
    await once(socket, 'close');
    expect(said).toMatch(/^HTTP\/1\.1 200 [\s\S]*"hello"$/);
  });
});

it('an answer that nobody reads over TLS is given up, and what it held is free', async () => {
  mounted = new Mounted(clock, ECHO);
  const metrics = { contentType: 'text/plain', metrics: async () => 'x'.repeat(16 * 1024 * 1024) };
  listener = await startHttp({ ...HTTP, ...mounted, tls: TLS, metrics });
  const socket = (await dial({ ALPNProtocols: ['http/1.1'] })) as TLSSocket;
  let code: string | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code;
  });
  socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(socket, 'readable');
  // One for the connection, and one for the answer.
  await until(() => clock.pending > 1);
  await clock.advance(STALL_TIMEOUT_MS - 1);
  expect(socket.destroyed).toBe(false);
  await clock.advance(1);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  await closed;
  expect(code).toBe('ECONNRESET');
});
