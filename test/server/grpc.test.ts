import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { credentials, Client as GrpcClient, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenService, WatchTokenRequestSchema } from '../../src/gen/lingpai/v1/token_pb.js';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Service } from '../../src/transport/service.ts';
import { settle } from '../support/clock.ts';
import { framed, outcome, RawConnection } from '../support/raw-http2.ts';
import { detailsOf, ForeignClient, failure, grpcOf, Mounted, Reader, StuckReader, until } from '../support/rpc.ts';
import { SECOND, World } from '../support/world.ts';

const WATCH = '/lingpai.v1.TokenService/WatchToken';
const EVERYTHING = toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema));
const ENHANCE_YOUR_CALM = 11;

let world: World;
let mounted: Mounted;
let listener: Listener;
let client: ForeignClient;

beforeEach(async () => {
  world = await World.started({ apps: { wxc: 'classic', wxs: 'stable' } });
  mounted = new Mounted(world.clock, world.broker);
  listener = await startGrpc(grpcOf(mounted));
  client = new ForeignClient(listener.address);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await listener.stop();
  await world.broker.stop();
  expect(mounted.faults).toEqual([]);
});

async function rotate(appId = 'wxc'): Promise<void> {
  await world.broker.forceRefresh(appId, undefined);
}

/** Sends these bytes as the one message of a unary call of Get. */
function raw(bytes: Buffer): Promise<Buffer> {
  const bare = new GrpcClient(listener.address, credentials.createInsecure());
  const asIs = (value: Buffer) => value;
  return new Promise<Buffer>((resolve, reject) => {
    bare.makeUnaryRequest(
      '/lingpai.v1.TokenService/Get',
      asIs,
      asIs,
      bytes,
      (error: ServiceError | null, value?: Buffer) => (error ? reject(error) : resolve(value ?? Buffer.alloc(0))),
    );
  }).finally(() => bare.close());
}

describe('unary calls of a client that is made from the .proto files alone', () => {
  it('Get answers with the whole state', async () => {
    const { state, server_time } = await client.call('Get', { app_id: 'wxc' });
    const held = world.state();
    expect(state).toMatchObject({
      app_id: 'wxc',
      generation: String(held.generation),
      current: { value: world.token(), id: held.current?.id },
      previous: null,
      status: 'TOKEN_STATUS_FRESH',
    });
    expect(server_time.seconds).toBe(String(Math.floor(world.clock.now() / 1000)));
  });

  it('ForceRefresh says what it did', async () => {
    const answer = await client.call('ForceRefresh', { app_id: 'wxc', rejected_token: world.token() });
    expect(answer).toMatchObject({ outcome: 'FORCE_REFRESH_OUTCOME_STILL_VALID', state: { app_id: 'wxc' } });
  });

  it('an error has its status and its details', async () => {
    const unknown = await failure(client.call('Get', { app_id: 'nobody' }));
    expect(unknown.code).toBe(status.NOT_FOUND);
    const details = detailsOf(unknown);
    expect(details).toMatchObject({ domain: 'lingpai', reason: 'APP_NOT_FOUND', metadata: { app_id: 'nobody' } });
    expect(details.status).toEqual({ code: status.NOT_FOUND, message: unknown.details });
  });

  it('a bad request is told every mistake', async () => {
    const bad = await failure(client.call('ForceRefresh', { app_id: '', rejected_generation: '0' }));
    expect(bad.code).toBe(status.INVALID_ARGUMENT);
    const { reason, bad: request } = detailsOf(bad);
    expect(reason).toBe('INVALID_REQUEST');
    expect(request?.fieldViolations.map(({ field }) => field)).toEqual(['app_id', 'rejected_generation']);
  });

  it('an error says when a retry can help', async () => {
    await rotate();
    const early = await failure(client.call('ForceRefresh', { app_id: 'wxc' }));
    expect(early.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(detailsOf(early)).toMatchObject({ reason: 'COOLDOWN', retry: { retryDelay: { seconds: 30n } } });
  });

  it('bytes that are no request are INVALID_ARGUMENT', async () => {
    const error = await failure(raw(Buffer.from([0xff, 0xff, 0xff])));
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details).toContain('not a well-formed lingpai.v1.GetRequest');
    expect(detailsOf(error).reason).toBe('INVALID_REQUEST');
  });

  it('a message of more than 1 MiB is refused, one of less is read', async () => {
    const large = await failure(client.call('Get', { app_id: 'x'.repeat(1024 * 1024) }));
    expect(large.code).toBe(status.RESOURCE_EXHAUSTED);
    const fits = await failure(client.call('Get', { app_id: 'x'.repeat(1024 * 1024 - 16) }));
    expect(fits.code).toBe(status.INVALID_ARGUMENT);
  });

  it('a call that waits ends at its deadline', async () => {
    const waiting = client.call(
      'Get',
      { app_id: 'wxc', min_generation: '9007199254740991' },
      { deadline: Date.now() + 50 },
    );
    expect((await failure(waiting)).code).toBe(status.DEADLINE_EXCEEDED);
    await until(() => mounted.calls.length > 0);
    // Both ends keep the deadline: the client may leave before the server's has come.
    expect(mounted.calls[0]).toMatch(/^TokenService\/Get (DEADLINE_EXCEEDED|CANCELLED)$/);
  });

  it('a call that is cancelled leaves', async () => {
    await client.call('Get', { app_id: 'wxc' });
    const caller = new AbortController();
    const pending = world.clock.pending;
    const waiting = client.cancellable('Get', { app_id: 'wxc', min_generation: '9007199254740991' }, caller.signal);
    await until(() => world.clock.pending > pending);
    caller.abort();
    expect((await failure(waiting)).code).toBe(status.CANCELLED);
    await until(() => mounted.calls.length > 1);
    expect(mounted.calls).toEqual(['TokenService/Get OK', 'TokenService/Get CANCELLED']);
    expect(world.clock.pending).toBe(pending);
  });

  it('each is measured by method and status', async () => {
    await client.call('Get', { app_id: 'wxc' });
    await failure(client.call('Get', { app_id: 'nobody' }));
    expect(mounted.calls).toEqual(['TokenService/Get OK', 'TokenService/Get NOT_FOUND']);
  });
});

describe('a fault', () => {
  it('is INTERNAL, and only the log learns what it was', async () => {
    const broken = new Mounted(world.clock, {
      get: () => {
        throw new TypeError('the secret is hunter2');
      },
      forceRefresh: () => Promise.reject(new Error('hunter2')),
      watch: () => world.broker.watch({ appIds: [], known: new Map() }),
      rescope() {},
    });
    const faulty = await startGrpc(grpcOf(broken));
    using other = new ForeignClient(faulty.address);
    for (const method of ['Get', 'ForceRefresh']) {
      const error = await failure(other.call(method, { app_id: 'wxc' }));
      expect(error.code).toBe(status.INTERNAL);
      expect(detailsOf(error).reason).toBe('INTERNAL');
      expect(`${error.message}${JSON.stringify(error.metadata.toJSON())}`).not.toContain('hunter2');
    }
    expect(broken.faults).toHaveLength(2);
    await faulty.stop();
  });
});

describe('watches', () => {
  it('get the states at once, then rotations', async () => {
    const reader = client.stream('WatchToken', { app_ids: ['wxc'] });
    expect((await reader.next()).state.current.value).toBe(world.token());
    await rotate();
    const { event, state } = await reader.next();
    expect(event).toBe('state');
    expect(state).toMatchObject({ generation: String(world.state().generation), current: { value: world.token() } });
    expect(state.previous.value).not.toBe(world.token());
    reader.cancel();
  });

  it('are released when the client cancels, and counted as cancelled', async () => {
    const reader = client.stream('WatchToken', {});
    await reader.next();
    expect(world.broker.watchers).toBe(1);
    reader.cancel();
    await until(() => world.broker.watchers === 0);
    await until(() => mounted.calls.length > 0);
    expect(mounted.calls).toEqual(['TokenService/WatchToken CANCELLED']);
  });

  it('are released when the connection breaks', async () => {
    const gone = new StuckReader(listener.address, WATCH, EVERYTHING, 10);
    await until(() => world.broker.watchers === 1);
    gone[Symbol.dispose]();
    await until(() => world.broker.watchers === 0);
  });

  it('end with a status when an unknown app is named', async () => {
    const reader = client.stream('WatchToken', { app_ids: ['nobody'] });
    const error = await failure(reader.next());
    expect(error.code).toBe(status.NOT_FOUND);
    expect(detailsOf(error).reason).toBe('APP_NOT_FOUND');
  });
});

describe('a watch that knows much', () => {
  const known = (count: number, appIds: string[] = []) =>
    framed(
      toBinary(
        WatchTokenRequestSchema,
        create(WatchTokenRequestSchema, {
          appIds,
          knownGenerations: Object.fromEntries(Array.from({ length: count }, (_, i) => [id(i), 2n ** 41n])),
        }),
      ),
    );
  const id = (i: number) => `wx${String(i).padStart(16, '0')}`;

  it('of 10,000 apps both ways is read', async () => {
    using raw = new RawConnection(listener.address);
    const ids = Array.from({ length: 10_000 }, (_, i) => id(i));
    const { fields } = await raw.call(WATCH, known(10_000, ids));
    expect(fields).toMatchObject({ 'grpc-status': String(status.NOT_FOUND) });
  });

  it.each([
    ['10,001 apps', known(10_001), status.INVALID_ARGUMENT, 'at most 10000 apps'],
    [
      '250,000 empty entries',
      framed(Buffer.concat(Array(250_000).fill(Buffer.from([0x12, 0])))),
      status.INVALID_ARGUMENT,
      'more than 20000 entries',
    ],
    ['more than 512 KiB', framed(Buffer.alloc(0), 0, 512 * 1024 + 1), status.RESOURCE_EXHAUSTED, 'too large'],
  ])('of %s is refused', async (_, body, code, words) => {
    using raw = new RawConnection(listener.address);
    const { fields } = await raw.call(WATCH, body);
    expect(fields).toMatchObject({ 'grpc-status': String(code) });
    expect(decodeURIComponent(String(fields['grpc-message']))).toContain(words);
    expect(world.broker.watchers).toBe(0);
  });
});

describe('P9: a reader that does not read', () => {
  it('holds one message, is ended, and its memory is freed; one beside it notices nothing', async () => {
    const beside = client.stream('WatchToken', {});
    await beside.next();
    await beside.next();
    using stuck = new StuckReader(listener.address, WATCH, EVERYTHING, 10);
    await until(() => world.broker.watchers === 2);
    for (let i = 1; i < 3; i++) {
      await world.clock.advance(10 * SECOND);
      expect((await beside.next()).event).toBe('heartbeat');
    }
    await rotate();
    expect((await beside.next()).state.current.value).toBe(world.token());
    await world.clock.advance(10 * SECOND);
    await until(() => world.broker.watchers === 1);
    expect(mounted.calls).toEqual(['TokenService/WatchToken RESOURCE_EXHAUSTED']);
    await world.clock.advance(1 * SECOND);
    expect(await stuck.closed).toBe(ENHANCE_YOUR_CALM);
    expect(stuck.trailers).toBeUndefined();
    await rotate('wxs');
    for (;;) {
      const { event, state } = await beside.next();
      if (event === 'state' && state.current.value === world.token('wxs')) break;
    }
    beside.cancel();
  });

  it('gets the status if it wakes in time', async () => {
    using stuck = new StuckReader(listener.address, WATCH, EVERYTHING, 10);
    await until(() => world.broker.watchers === 1);
    await world.clock.advance(30 * SECOND);
    expect(world.broker.watchers).toBe(0);
    stuck.read();
    expect(await stuck.closed).toBe(0);
    expect(stuck.trailers?.['grpc-status']).toBe(String(status.RESOURCE_EXHAUSTED));
    expect(stuck.trailers?.['grpc-status-details-bin']).toBeDefined();
  });

  it('has only one message asked for on its behalf', async () => {
    let asked = 0;
    const impl = {
      async *watchToken() {
        for (;;) {
          asked++;
          yield {};
        }
      },
    };
    const service = { desc: TokenService, impl: { ...mounted.services[0]?.impl, ...impl } };
    const fountain = new Mounted(world.clock, service as unknown as Service);
    const source = await startGrpc(grpcOf(fountain));
    // Five bytes a message: two fit, and the third waits.
    using stuck = new StuckReader(source.address, WATCH, EVERYTHING, 12);
    await until(() => asked === 3);
    using other = new ForeignClient(source.address);
    for (let i = 0; i < 20; i++) await other.call('Get', { app_id: 'wxc' });
    expect(asked).toBe(3);
    stuck.read();
    await until(() => asked > 100);
    await source.stop();
  });
});

describe('standard services', () => {
  const health = () => new ForeignClient(listener.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);

  it.each(['', 'lingpai.v1.TokenService'])('health of "%s" follows setServing, watched too', async (service) => {
    using checks = health();
    const watch = checks.stream('Watch', { service });
    expect((await watch.next()).status).toBe('NOT_SERVING');
    listener.setServing(true);
    expect((await checks.call('Check', { service })).status).toBe('SERVING');
    expect((await watch.next()).status).toBe('SERVING');
    watch.cancel();
  });

  it('health of an unknown service is NOT_FOUND', async () => {
    using checks = health();
    expect((await failure(checks.call('Check', { service: 'nobody' }))).code).toBe(status.NOT_FOUND);
  });

  it.each(['grpc-v1', 'grpc-v1alpha'])('buf curl calls through reflection (%s)', async (reflection) => {
    const bin = join(import.meta.dirname, '../../node_modules/.bin/buf');
    const common = ['--protocol', 'grpc', '--http2-prior-knowledge', '--reflect-protocol', reflection];
    const url = `http://${listener.address}/lingpai.v1.TokenService/Get`;
    const { stdout } = await promisify(execFile)(bin, ['curl', ...common, '-d', '{"app_id":"wxc"}', url]);
    expect(JSON.parse(stdout).state.current.value).toBe(world.token());
  });

  it('an unknown method is UNIMPLEMENTED', async () => {
    const bare = new GrpcClient(listener.address, credentials.createInsecure());
    const asIs = (value: Buffer) => value;
    const error = await new Promise<ServiceError | null>((resolve) =>
      bare.makeUnaryRequest('/lingpai.v1.TokenService/Guess', asIs, asIs, Buffer.alloc(0), resolve),
    );
    expect(error?.code).toBe(status.UNIMPLEMENTED);
    bare.close();
  });
});

describe('drain and stop', () => {
  it('lets a call in progress finish, and accepts no other connection', async () => {
    await client.call('Get', { app_id: 'wxc' });
    const pending = world.clock.pending;
    const waiting = client.call('Get', { app_id: 'wxc', min_generation: String(world.state().generation + 1) });
    await until(() => world.clock.pending > pending);
    const drained = listener.drain(20 * SECOND);
    using late = new ForeignClient(listener.address);
    expect((await failure(late.call('Get', { app_id: 'wxc' }))).code).toBe(status.UNAVAILABLE);
    await rotate();
    expect((await waiting).state.current.value).toBe(world.token());
    await drained;
  });

  it('ends what is left at the limit', async () => {
    await client.call('Get', { app_id: 'wxc' });
    const pending = world.clock.pending;
    const waiting = failure(client.call('Get', { app_id: 'wxc', min_generation: '9007199254740991' }));
    await until(() => world.clock.pending > pending);
    const drained = listener.drain(20 * SECOND);
    await world.clock.advance(20 * SECOND);
    await drained;
    expect([status.UNAVAILABLE, status.CANCELLED]).toContain((await waiting).code);
  });

  it('ends health watches, which would last for ever', async () => {
    using checks = new ForeignClient(listener.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
    const watch = checks.stream('Watch', { service: '' });
    await watch.next();
    await listener.drain(20 * SECOND);
    expect((await watch.ended).code).toBe(status.UNAVAILABLE);
  });

  it('ends reflection, which lasts as long as its caller likes', async () => {
    using reflection = new ForeignClient(listener.address, 'grpc.reflection.v1.ServerReflection', [
      'grpc/reflection/v1/reflection.proto',
    ]);
    const call = reflection.duplex('ServerReflectionInfo');
    const answers = new Reader(call);
    call.write({ list_services: '' });
    await answers.next();
    await listener.drain(20 * SECOND);
    expect((await answers.ended).code).toBe(status.UNAVAILABLE);
  });

  it('is not held up by calls whose requests do not come whole', async () => {
    using raw = new RawConnection(listener.address);
    const stream = raw.open('/lingpai.v1.TokenService/Get');
    const pending = world.clock.pending;
    await until(() => world.clock.pending > pending);
    const ended = outcome(stream);
    const drained = listener.drain(20 * SECOND);
    await world.clock.advance(5 * SECOND);
    await settle();
    await ended;
    await world.clock.advance(SECOND);
    await drained;
  });

  it('stop ends watches', async () => {
    const reader = client.stream('WatchToken', {});
    await reader.next();
    await listener.stop();
    expect([status.UNAVAILABLE, status.CANCELLED]).toContain((await reader.ended).code);
    await until(() => world.broker.watchers === 0);
  });
});

describe('an address that cannot be listened on', () => {
  it('is named, with what to do', async () => {
    const port = Number(listener.address.split(':')[1]);
    await expect(startGrpc({ ...grpcOf(mounted), listen: { host: '127.0.0.1', port } })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}: another process listens there; stop it, or choose another port in grpc.listen`,
    );
  });
});
