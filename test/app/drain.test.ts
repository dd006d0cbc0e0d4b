import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { drain } from '../../src/app/drain.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { ask, fetchToken, housed } from '../support/gateway.ts';
import { detailsOf, ForeignClient, failure, grpcOf, HTTP, Mounted, until } from '../support/rpc.ts';
import { SECOND, World } from '../support/world.ts';

const NEVER = new AbortController().signal;

/** A listener and a broker that note what is asked of them, and take as long as they are told. */
function scripted(clock: FakeClock, messagesMs: number, brokerMs: number, listenerMs: number) {
  const log: string[] = [];
  const note = (what: string) => log.push(`${clock.monotonic() - 1_000} ${what}`);
  const pass = (ms: number) => new Promise<void>((resolve) => void clock.schedule(ms, resolve));
  const listener: Listener = {
    address: '',
    paths: [],
    setServing: (serving) => note(`serving ${serving}`),
    setTls() {},
    drain: async (limitMs) => {
      note(`listener drains within ${limitMs}`);
      await pass(Math.min(listenerMs, limitMs));
    },
    stop: async () => {},
  };
  const messages = {
    drain: async () => {
      note('messages drain');
      await pass(messagesMs);
    },
  };
  const broker = {
    drain: async (_: number, users: Promise<unknown>) => {
      note('goaways');
      await users;
      note('broker drains');
      await pass(brokerMs);
    },
  };
  return { log, note, listeners: [listener], users: messages, broker };
}

/** A gateway whose last call takes so long. */
function gatewayOf(clock: FakeClock, note: (what: string) => void, ms: number): Pick<Listener, 'drain'> {
  return {
    drain: async (limitMs) => {
      note(`gateway drains within ${limitMs}`);
      await new Promise<void>((resolve) => void clock.schedule(Math.min(ms, limitMs), resolve));
      note('gateway is empty');
    },
  };
}

async function run(messagesMs: number, brokerMs: number, listenerMs: number, gatewayMs?: number): Promise<string[]> {
  const clock = new FakeClock();
  const { log, note, ...parts } = scripted(clock, messagesMs, brokerMs, listenerMs);
  const gateway = gatewayMs === undefined ? undefined : gatewayOf(clock, note, gatewayMs);
  const drained = drain({ ...parts, gateway, clock }).then((settled) => note(`done ${settled}`));
  await clock.advance(60 * SECOND);
  await drained;
  expect(clock.pending).toBeLessThanOrEqual(1);
  return log;
}

describe('the order of a drain', () => {
  it('is readiness, goaways, messages, broker, listeners', async () => {
    expect(await run(50, 100, 200)).toEqual([
      '0 serving false',
      '0 messages drain',
      '0 goaways',
      '50 broker drains',
      '150 listener drains within 23850',
      '350 done true',
    ]);
  });

  it('has the broker refresh while a call of the gateway may need it', async () => {
    expect(await run(50, 100, 200, 5_000)).toEqual([
      '0 serving false',
      '0 gateway drains within 24000',
      '0 messages drain',
      '0 goaways',
      '5000 gateway is empty',
      '5000 broker drains',
      '5100 listener drains within 18900',
      '5300 done true',
    ]);
  });

  it('leaves the broker time when a download at the gateway takes too long, which goes on to the end', async () => {
    expect(await run(0, 100, 0, 90_000)).toEqual([
      '0 serving false',
      '0 gateway drains within 24000',
      '0 messages drain',
      '0 goaways',
      '12000 broker drains',
      '12100 listener drains within 11900',
      '24000 gateway is empty',
      '24000 done true',
    ]);
  });

  it('leaves the broker time when messages take too long', async () => {
    expect(await run(90_000, 5_000, 100)).toEqual([
      '0 serving false',
      '0 messages drain',
      '0 goaways',
      '12000 broker drains',
      '17000 listener drains within 7000',
      '17100 done true',
    ]);
  });

  it('leaves the listeners time when the broker takes too long, and ends within 25 s', async () => {
    expect(await run(0, 90_000, 90_000)).toEqual([
      '0 serving false',
      '0 messages drain',
      '0 goaways',
      '0 broker drains',
      '19200 listener drains within 4800',
      '24000 done false',
    ]);
  });
});

describe('a drain of a broker that serves', () => {
  it('has a token that dies under a call of the gateway replaced, and the call gets the newer one', async () => {
    const { world, clock, url, listener, forwarder } = await housed();
    const { broker } = world;
    await clock.advance(2 * world.settings.cooldownMs);
    const { access_token: standIn = '' } = await fetchToken({ url }, 'wxc', 'any');
    const refused = Promise.withResolvers<void>();
    forwarder.answer = async (_, response) => {
      const first = await broker.get('wxc', { signal: () => NEVER });
      await refused.promise;
      const token = first.current?.value ?? '';
      const { state } = await broker.forceRefresh('wxc', { kind: 'token', token, witness: 'broker' }, NEVER);
      response.end(JSON.stringify({ newer: state.generation > first.generation }));
    };
    const answered = ask(`${url}/cgi-bin/user/get?access_token=${standIn}`);
    await until(() => forwarder.calls.length === 1);
    const users = { drain: async () => undefined };
    const drained = drain({ listeners: [], gateway: listener, users, broker, clock });
    await settle();
    world.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
    refused.resolve();
    await settle();
    await clock.advance(5 * SECOND);
    expect(await answered).toMatchObject({ newer: true });
    expect(await drained).toBe(true);
  });

  it('says so to health checks, sends goaways, ends watches as DRAINING, finishes calls and frees every port', async () => {
    const world = await World.started();
    const mounted = new Mounted(world.clock, world.broker);
    const grpc = await startGrpc(grpcOf(mounted));
    const http = await startHttp({ ...HTTP, ...mounted });
    for (const listener of [grpc, http]) listener.setServing(true);
    expect((await fetch(`http://${http.address}/readyz`)).status).toBe(200);
    using client = new ForeignClient(grpc.address);
    using checks = new ForeignClient(grpc.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
    const health = checks.stream('Watch', { service: '' });
    expect((await health.next()).status).toBe('SERVING');
    const watch = client.stream('WatchToken', {});
    await watch.next();
    await client.call('Get', { app_id: 'wxc' });

    const users = { drain: async () => undefined };
    const drained = drain({ listeners: [grpc, http], users, broker: world.broker, clock: world.clock });
    expect((await health.next()).status).toBe('NOT_SERVING');
    expect((await watch.next()).goaway.reconnect_after).toBeDefined();
    const ended = await failure(watch.next());
    expect(ended.code).toBe(status.UNAVAILABLE);
    expect(detailsOf(ended).reason).toBe('DRAINING');
    await settle();
    await drained;
    expect(world.broker.watchers).toBe(0);
    await until(() => mounted.calls.length === 3);
    expect(mounted.calls).toEqual([
      'TokenService/Get OK',
      'grpc.health.v1.Health/Watch UNAVAILABLE',
      'TokenService/WatchToken UNAVAILABLE',
    ]);
    expect((await failure(client.call('Get', { app_id: 'wxc' }))).code).toBe(status.UNAVAILABLE);
    await expect(fetch(`http://${http.address}/livez`)).rejects.toThrow();
    await world.broker.stop();
    expect(world.clock.pending).toBe(0);
  });
});
