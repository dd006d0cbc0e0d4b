import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Connection,
  type ConnectionLimits,
  Connections,
  connectionLimits,
  Tally,
} from '../../src/server/connections.ts';
import { FakeClock } from '../support/clock.ts';
import { until } from '../support/rpc.ts';

const IDLE_MS = 10_000;

let clock: FakeClock;
let server: Server;
let connections: Connections;
let admitted: Connection[];
let told: object[];
const clients: Socket[] = [];

async function listen(limits: ConnectionLimits | Tally, end?: () => void, lasting?: Tally): Promise<void> {
  const onRefused = (refusal: object) => told.push(refusal);
  connections = new Connections({ limits, lasting, idleMs: IDLE_MS, clock, onRefused });
  server = createServer((socket) => {
    const connection = connections.admit(socket, end);
    if (connection) admitted.push(connection);
  });
  server.listen(0);
  await once(server, 'listening');
}

/** A connection from one of this machine's addresses; `closed` resolves when it is over. */
function dial(localAddress = '127.0.0.1') {
  const { port } = server.address() as AddressInfo;
  const host = localAddress.includes(':') ? '::1' : '127.0.0.1';
  const socket = connect({ port, host, localAddress }).resume();
  clients.push(socket);
  socket.on('error', () => {});
  return { socket, closed: new Promise((resolve) => socket.once('close', resolve)) };
}

beforeEach(() => {
  clock = new FakeClock();
  admitted = [];
  told = [];
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  connections.destroy();
  server.close();
  await once(server, 'close');
});

describe('caps', () => {
  it('one peer cannot take what is for all, and is let in again when it has let go', async () => {
    await listen({ inAll: 4, perPeer: 2 });
    const [first] = [dial(), dial()];
    await until(() => admitted.length === 2);
    await dial().closed;
    expect(connections.count).toBe(2);
    dial('127.0.0.2');
    await until(() => admitted.length === 3);
    first?.socket.destroy();
    await until(() => connections.count === 2);
    dial();
    await until(() => admitted.length === 4);
  });

  it('are whole again for a peer whose last connection has ended', async () => {
    await listen({ inAll: 4, perPeer: 1 });
    for (let i = 1; i <= 3; i++) {
      const { socket } = dial();
      await until(() => admitted.length === i);
      socket.destroy();
      await until(() => connections.count === 0);
    }
    expect(told).toEqual([]);
  });

  it('of the listener hold whoever comes', async () => {
    await listen({ inAll: 2, perPeer: 2 });
    dial('127.0.0.1');
    dial('127.0.0.2');
    await until(() => admitted.length === 2);
    await dial('127.0.0.3').closed;
    expect(told).toEqual([{ cap: 'inAll', connections: 2, peer: '127.0.0.3', refused: 1 }]);
  });

  it('are told of once, and again after ten minutes', async () => {
    await listen({ inAll: 4, perPeer: 1 });
    dial();
    await until(() => admitted.length === 1);
    const keep = admitted[0]?.work();
    for (let i = 0; i < 3; i++) await dial().closed;
    expect(told).toEqual([{ cap: 'perPeer', connections: 1, peer: '127.0.0.1', refused: 1 }]);
    await clock.advance(600_000);
    await dial().closed;
    expect(told.slice(1)).toEqual([{ cap: 'perPeer', connections: 1, peer: '127.0.0.1', refused: 3 }]);
    keep?.();
  });

  it('take an IPv6 network for one peer', async () => {
    await listen({ inAll: 4, perPeer: 1 });
    const admit = (remoteAddress: string) => {
      const { socket } = dial();
      Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
      return connections.admit(socket) !== undefined;
    };
    expect(admit('2001:db8:0:1::7')).toBe(true);
    expect(admit('2001:db8::1:a:b:c:d')).toBe(false);
    expect(admit('2001:db8:0:2::7')).toBe(true);
    expect(admit('::ffff:192.0.2.1')).toBe(true);
    expect(admit('192.0.2.1')).toBe(false);
    expect(told).toMatchObject([{ peer: '2001:db8:0:1::/64' }]);
  });
});

describe('connections that are to end', () => {
  it('do so when they have nothing to do, but for those whose first work may be on its way', async () => {
    await listen({ inAll: 4, perPeer: 4 });
    const idle = dial();
    await until(() => admitted.length === 1);
    admitted[0]?.work()();
    const fresh = dial();
    await until(() => admitted.length === 2);
    const busy = dial();
    await until(() => admitted.length === 3);
    const done = admitted[2]?.work();
    connections.retire();
    await idle.closed;
    expect(connections.count).toBe(2);
    done?.();
    await busy.closed;
    admitted[1]?.work()();
    await fresh.closed;
  });
});

describe('a connection whose answer lasts', () => {
  const full = (tally: Tally) => tally.full('127.0.0.1')?.cap;

  it('is counted where it was before when the answer is over, and nowhere once it is closed', async () => {
    const [limits, lasting] = [new Tally({ inAll: 1, perPeer: 1 }), new Tally({ inAll: 1, perPeer: 1 })];
    await listen(limits, undefined, lasting);
    const { socket } = dial();
    await until(() => admitted.length === 1);
    const over = admitted[0]?.lasts();
    expect([full(limits), full(lasting)]).toEqual([undefined, 'inAll']);
    over?.();
    expect([full(limits), full(lasting)]).toEqual(['inAll', undefined]);
    const again = admitted[0]?.lasts();
    socket.destroy();
    await until(() => connections.count === 0);
    again?.();
    expect([full(limits), full(lasting)]).toEqual([undefined, undefined]);
  });

  it('leaves its place to another, and takes one of those that it shares', async () => {
    const lasting = new Tally({ inAll: 1, perPeer: 1 });
    await listen({ inAll: 1, perPeer: 1 }, undefined, lasting);
    const { socket } = dial();
    await until(() => admitted.length === 1);
    admitted[0]?.lasts();
    admitted[0]?.lasts();
    expect(full(lasting)).toBe('inAll');
    dial();
    await until(() => admitted.length === 2);
    // There is no place left of either: it keeps its own.
    admitted[1]?.lasts();
    await dial().closed;
    expect(told).toMatchObject([{ cap: 'inAll', connections: 1 }]);
    expect(connections.count).toBe(2);
    socket.destroy();
    await until(() => full(lasting) === undefined);
    admitted[1]?.lasts();
    expect(full(lasting)).toBe('inAll');
  });

  it('shares its places with those of another listener', async () => {
    const shared = new Tally({ inAll: 2, perPeer: 1 });
    shared.add('127.0.0.1');
    await listen(shared);
    await dial().closed;
    expect(told).toEqual([{ cap: 'perPeer', connections: 1, peer: '127.0.0.1', refused: 1 }]);
    dial('127.0.0.2');
    await until(() => admitted.length === 1);
    await dial('127.0.0.3').closed;
    shared.delete('127.0.0.1');
    dial();
    await until(() => admitted.length === 2);
  });
});

describe('an idle connection', () => {
  it('ends, also one that never said a word', async () => {
    await listen({ inAll: 4, perPeer: 4 });
    const { closed } = dial();
    await until(() => admitted.length === 1);
    await clock.advance(IDLE_MS - 1);
    expect(connections.count).toBe(1);
    await clock.advance(1);
    await closed;
    expect(clock.pending).toBe(0);
  });

  it('is one only when all its work is done, and for the whole time again', async () => {
    await listen({ inAll: 4, perPeer: 4 });
    const { closed } = dial();
    await until(() => admitted.length === 1);
    const [one, other] = [admitted[0]?.work(), admitted[0]?.work()];
    await clock.advance(3 * IDLE_MS);
    one?.();
    one?.();
    await clock.advance(3 * IDLE_MS);
    expect(connections.count).toBe(1);
    other?.();
    await clock.advance(IDLE_MS - 1);
    admitted[0]?.work()();
    await clock.advance(IDLE_MS - 1);
    expect(connections.count).toBe(1);
    await clock.advance(1);
    await closed;
  });

  it('may be ended more politely, and is asked again where that did not help', async () => {
    let asked = 0;
    await listen({ inAll: 4, perPeer: 4 }, () => asked++);
    dial();
    await until(() => admitted.length === 1);
    await clock.advance(IDLE_MS);
    expect(asked).toBe(1);
    await clock.advance(IDLE_MS);
    expect(asked).toBe(2);
  });
});

describe('the share of a listener', () => {
  it.each([
    [1_024, 696, 232],
    [256, 120, 40],
    [20_000, 16_384, 2_048],
    [Number.POSITIVE_INFINITY, 16_384, 2_048],
  ])('of %d files leaves 64 for WeChat and the store', (openFiles, grpc, http) => {
    const limits = connectionLimits(openFiles);
    expect(limits).toMatchObject({
      grpc: { inAll: grpc, perPeer: grpc / 2 },
      http: { inAll: http, perPeer: http / 2 },
    });
    expect(limits.grpc.inAll + limits.http.inAll).toBeLessThanOrEqual(openFiles - 64 - 23);
  });

  it.each([
    [1_024, 232, 232, 232],
    [20_000, 13_760, 2_048, 2_048],
    [Number.POSITIVE_INFINITY, 16_384, 2_048, 2_048],
  ])('of %d files leaves the gateway as many again for WeChat', (openFiles, grpc, http, gateway) => {
    const limits = connectionLimits(openFiles, true);
    const inAll = Object.entries(limits).map(([name, limit]) => [name, limit.inAll]);
    expect(Object.fromEntries(inAll)).toEqual({ grpc, http, gateway });
    expect(limits.grpc.inAll + limits.http.inAll + 2 * limits.gateway.inAll).toBeLessThanOrEqual(openFiles - 64 - 23);
  });

  it('is never nothing', () => {
    expect(connectionLimits(64)).toMatchObject({ grpc: { inAll: 16 }, http: { inAll: 16 } });
  });
});
