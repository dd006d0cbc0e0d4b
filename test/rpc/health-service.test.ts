import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_HEALTH_WATCHES } from '../../src/rpc/health-service.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Service } from '../../src/transport/service.ts';
import { FakeClock } from '../support/clock.ts';
import { echo } from '../support/echo.ts';
import { ForeignClient, failure, grpcOf, Mounted, until } from '../support/rpc.ts';

let options: ReturnType<typeof grpcOf>;
let listener: Listener;
let client: ForeignClient;

beforeEach(async () => {
  const unused = () => ({});
  const service = { desc: echo(), impl: { say: unused, chat: unused } } as unknown as Service;
  options = grpcOf(new Mounted(new FakeClock(), service));
  listener = await startGrpc(options);
  client = new ForeignClient(listener.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await listener.stop();
});

describe('Check and List', () => {
  it('tell of the whole server and of each service', async () => {
    for (const serving of [true, false]) {
      listener.setServing(serving);
      const told = { status: serving ? 'SERVING' : 'NOT_SERVING' };
      for (const service of ['', 'test.Echo']) expect(await client.call('Check', { service })).toEqual(told);
      expect((await client.call('List', {})).statuses).toEqual({ '': told, 'test.Echo': told });
    }
  });

  it('an unknown name is NOT_FOUND, is not repeated, and not kept', async () => {
    const unknown = await failure(client.call('Check', { service: 'hunter2' }));
    expect(unknown.code).toBe(status.NOT_FOUND);
    expect(unknown.details).not.toContain('hunter2');
    expect(Object.keys((await client.call('List', {})).statuses)).toEqual(['', 'test.Echo']);
  });

  it('a name of more than 1 KiB is not read', async () => {
    const long = await failure(client.call('Check', { service: 'x'.repeat(2_000) }));
    expect(long.code).toBe(status.RESOURCE_EXHAUSTED);
  });
});

describe('Watch', () => {
  it('tells of each change once, and of the last one only to a reader that was away', async () => {
    const watch = client.stream('Watch', { service: 'test.Echo' });
    expect((await watch.next()).status).toBe('NOT_SERVING');
    listener.setServing(true);
    listener.setServing(true);
    expect((await watch.next()).status).toBe('SERVING');
    listener.setServing(false);
    expect((await watch.next()).status).toBe('NOT_SERVING');
    watch.cancel();
    await until(() => options.health.watches === 0);
  });

  it('of an unknown name says so, stays open, and leaves nothing behind', async () => {
    const watch = client.stream('Watch', { service: 'nobody' });
    expect((await watch.next()).status).toBe('SERVICE_UNKNOWN');
    listener.setServing(true);
    expect(options.health.watches).toBe(1);
    watch.cancel();
    await until(() => options.health.watches === 0);
  });

  it('is open 1,000 times at most', async () => {
    const watches = Array.from({ length: MAX_HEALTH_WATCHES }, () => client.stream('Watch', {}));
    await Promise.all(watches.map((watch) => watch.next()));
    using other = new ForeignClient(listener.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
    expect((await failure(other.stream('Watch', {}).next())).code).toBe(status.RESOURCE_EXHAUSTED);
    watches[0]?.cancel();
    await until(() => options.health.watches < MAX_HEALTH_WATCHES);
    expect((await other.stream('Watch', {}).next()).status).toBe('NOT_SERVING');
  });
});
