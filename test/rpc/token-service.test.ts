import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createHandlerContext, type HandlerContext } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { LOCAL } from '../../src/core/access/principal.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import {
  ForceRefreshOutcome,
  ForceRefreshRequestSchema,
  GetRequestSchema,
  type GetResponse,
  TokenService,
  WatchTokenRequestSchema,
  type WatchTokenResponse,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { tokenService } from '../../src/rpc/token-service.ts';
import { callValues } from '../../src/transport/call.ts';
import { settle } from '../support/clock.ts';
import { STALL_TIMEOUT_MS } from '../support/rpc.ts';
import { MINUTE, SECOND, World } from '../support/world.ts';

/** The service before a real broker, called as a listener does. */
class Called {
  readonly world: World;
  readonly propagations: number[] = [];
  readonly service;
  /** With what the service ended the stream by itself. */
  ended: unknown;
  release: () => void = () => {};

  constructor(world: World) {
    this.world = world;
    this.service = tokenService({
      broker: world.broker,
      clock: world.clock,
      stallTimeoutMs: STALL_TIMEOUT_MS,
      maxWaiting: 2,
      propagation: (ms) => this.propagations.push(ms),
    });
  }

  get(request: { appId: string; minGeneration?: bigint }, signal?: AbortSignal) {
    return this.service.get(create(GetRequestSchema, request), context(TokenService.method.get, signal));
  }

  watch(request: { appIds?: string[]; knownGenerations?: Record<string, bigint> } = {}) {
    const control = {
      onClose: (release: () => void) => {
        this.release = release;
      },
      end: (error: unknown) => {
        this.ended = error;
      },
    };
    const watching = context(
      TokenService.method.watchToken,
      undefined,
      callValues(control, { caller: LOCAL, peer: '' }),
    );
    const events = this.service.watchToken(create(WatchTokenRequestSchema, request), watching);
    return events[Symbol.asyncIterator]() as AsyncIterator<WatchTokenResponse>;
  }
}

function context(
  method: HandlerContext['method'],
  requestSignal = new AbortController().signal,
  contextValues?: HandlerContext['values'],
): HandlerContext {
  return createHandlerContext({
    service: TokenService,
    method,
    protocolName: 'test',
    requestMethod: 'POST',
    url: 'http://localhost/',
    requestSignal,
    ...(contextValues && { contextValues }),
  });
}

async function called(): Promise<Called> {
  return new Called(await World.started());
}

async function rotate(world: World): Promise<void> {
  await world.broker.forceRefresh('wxc', undefined);
}

describe('Get', () => {
  it('answers at once, without a promise and without asking for a signal, when a token is held', async () => {
    const { service, world } = await called();
    const untouched = new Proxy({} as HandlerContext, {
      get(_, property) {
        throw new Error(`the context's ${String(property)} was touched`);
      },
    });
    const answer = service.get(create(GetRequestSchema, { appId: 'wxc' }), untouched) as GetResponse;
    expect(answer.state?.current?.value).toBe(world.token());
  });

  it('lets only so many wait at once, and each that ends makes room for another', async () => {
    const called_ = new Called(await World.started());
    const minGeneration = BigInt(Number.MAX_SAFE_INTEGER);
    const leaver = new AbortController();
    const first = Promise.resolve(called_.get({ appId: 'wxc', minGeneration }, leaver.signal)).catch(() => undefined);
    Promise.resolve(called_.get({ appId: 'wxc', minGeneration })).catch(() => undefined);
    const asks = () => void Promise.resolve(called_.get({ appId: 'wxc', minGeneration })).catch(() => undefined);
    expect(asks).toThrow(expect.objectContaining({ reason: 'TOO_MANY_WAITING', retryAfterMs: 1_000 }));
    expect(called_.get({ appId: 'wxc' })).toBeDefined(); // what is in memory needs no room
    leaver.abort();
    await first;
    expect(asks).not.toThrow();
  });

  it('waits at most 60 seconds for a generation when the caller names no deadline', async () => {
    const called_ = await called();
    const { world } = called_;
    const minGeneration = BigInt(Number.MAX_SAFE_INTEGER);
    let failed: unknown;
    Promise.resolve(called_.get({ appId: 'wxc', minGeneration })).catch((error: unknown) => {
      failed = error;
    });
    await world.clock.advance(MINUTE - 1);
    expect(failed).toBeUndefined();
    await world.clock.advance(1);
    expect(failed).toMatchObject({ reason: 'GENERATION_NOT_REACHED', appId: 'wxc' });
  });

  it('answers with the generation it waited for, and leaves no timer', async () => {
    const called_ = await called();
    const { world } = called_;
    const pending = world.clock.pending;
    const before = world.state().generation;
    const waiting = Promise.resolve(called_.get({ appId: 'wxc', minGeneration: BigInt(before) + 1n }));
    expect(world.clock.pending).toBe(pending + 1);
    await rotate(world);
    const answer = (await waiting) as GetResponse;
    expect(answer.state?.generation).toBe(BigInt(world.state().generation));
    await settle();
    expect(world.clock.pending).toBe(pending);
  });

  it("is GENERATION_NOT_REACHED at the caller's deadline and leaves with the caller", async () => {
    const called_ = await called();
    const caller = new AbortController();
    const waiting = Promise.resolve(called_.get({ appId: 'wxc', minGeneration: 2n ** 52n }, caller.signal));
    caller.abort(new ConnectError('late', Code.DeadlineExceeded));
    await expect(waiting).rejects.toMatchObject({ reason: 'GENERATION_NOT_REACHED' });
    const gone = AbortSignal.abort(new ConnectError('gone', Code.Canceled));
    await expect(Promise.resolve(called_.get({ appId: 'wxc', minGeneration: 2n ** 52n }, gone))).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });

  it('throws for a bad request and for an unknown app', async () => {
    const called_ = await called();
    expect(() => called_.get({ appId: '' })).toThrow(expect.objectContaining({ reason: 'INVALID_REQUEST' }));
    expect(() => called_.get({ appId: 'nobody' })).toThrow(expect.objectContaining({ reason: 'APP_NOT_FOUND' }));
  });
});

describe('ForceRefresh', () => {
  const force = (called_: Called, rejected: Parameters<typeof create<typeof ForceRefreshRequestSchema>>[1]) =>
    called_.service.forceRefresh(
      create(ForceRefreshRequestSchema, { appId: 'wxc', ...rejected }),
      context(TokenService.method.forceRefresh),
    );

  it('reports a token, a generation, or nothing', async () => {
    const called_ = await called();
    const { world } = called_;
    const value = world.token();
    const generation = BigInt(world.state().generation);
    expect(await force(called_, { rejected: { case: 'rejectedToken', value } })).toMatchObject({
      outcome: ForceRefreshOutcome.STILL_VALID,
      state: { current: { value } },
    });
    expect(await force(called_, {})).toMatchObject({ outcome: ForceRefreshOutcome.REFRESHED });
    expect(await force(called_, { rejected: { case: 'rejectedGeneration', value: generation } })).toMatchObject({
      outcome: ForceRefreshOutcome.ALREADY_NEWER,
      state: { current: { value: world.token() } },
    });
  });
});

describe('WatchToken', () => {
  it('sends the state, then heartbeats and rotations', async () => {
    const called_ = await called();
    const { world } = called_;
    const events = called_.watch({ appIds: ['wxc'] });
    expect((await events.next()).value.event).toMatchObject({ case: 'state', value: { appId: 'wxc' } });
    const later = events.next();
    await world.clock.advance(10 * SECOND);
    expect((await later).value.event.case).toBe('heartbeat');
    await rotate(world);
    const rotated = await events.next();
    expect(rotated.value.event).toMatchObject({
      case: 'state',
      value: { current: { value: world.token() }, generation: BigInt(world.state().generation) },
    });
  });

  it('sends nothing that is known', async () => {
    const called_ = await called();
    const events = called_.watch({ knownGenerations: { wxc: BigInt(called_.world.state().generation) } });
    expect((await events.next()).value.event.case).toBe('heartbeat');
  });

  it('ends with NOT_FOUND when an unknown app is named, and leaves no watch', async () => {
    const called_ = await called();
    expect(() => called_.watch({ appIds: ['wxc', 'nobody'] })).toThrow(
      expect.objectContaining({ reason: 'APP_NOT_FOUND' }),
    );
    expect(called_.world.broker.watchers).toBe(0);
  });

  it('P3: is ended as WATCHER_STALLED when a message is not taken in time, and released at once', async () => {
    const called_ = await called();
    const { world } = called_;
    await called_.watch().next();
    await world.clock.advance(STALL_TIMEOUT_MS - 1);
    expect(world.broker.watchers).toBe(1);
    expect(called_.ended).toBeUndefined();
    await world.clock.advance(1);
    expect(called_.ended).toBeInstanceOf(LingpaiError);
    expect(called_.ended).toMatchObject({ reason: 'WATCHER_STALLED', retryAfterMs: 0 });
    expect(world.broker.watchers).toBe(0);
  });

  it('is not stalled while it waits for news', async () => {
    const called_ = await called();
    const events = called_.watch();
    await events.next();
    for (let i = 0; i < 10; i++) {
      const next = events.next();
      await called_.world.clock.advance(10 * SECOND);
      await next;
    }
    expect(called_.ended).toBeUndefined();
  });

  it('is released when its call is over, suspended at a message or waiting for one', async () => {
    const called_ = await called();
    const { world } = called_;
    const pending = world.clock.pending;
    const suspended = called_.watch();
    await suspended.next();
    called_.release();
    expect(world.broker.watchers).toBe(0);
    expect(world.clock.pending).toBe(pending);

    const waiting = called_.watch();
    await waiting.next();
    const next = waiting.next();
    await settle();
    called_.release();
    expect((await next).done).toBe(true);
    expect(world.broker.watchers).toBe(0);
    expect(world.clock.pending).toBe(pending);
  });

  it('is released when its reader returns', async () => {
    const called_ = await called();
    const events = called_.watch();
    await events.next();
    await events.return?.();
    expect(called_.world.broker.watchers).toBe(0);
  });

  it('gets a goaway and ends with DRAINING', async () => {
    const called_ = await called();
    const events = called_.watch();
    await events.next();
    await called_.world.broker.drain(5 * SECOND);
    const goaway = (await events.next()).value.event;
    expect(goaway.case).toBe('goaway');
    expect(Number(goaway.value.reconnectAfter.seconds)).toBeLessThan(5);
    await expect(events.next()).rejects.toMatchObject({ reason: 'DRAINING' });
    expect(called_.world.broker.watchers).toBe(0);
  });

  it('tells of apps that are taken out of the configuration', async () => {
    const called_ = await called();
    const events = called_.watch();
    await events.next();
    called_.world.broker.configure([]);
    expect((await events.next()).value.event).toMatchObject({ case: 'removed', value: { appId: 'wxc' } });
  });

  it('P4: measures how long a rotation took to be written, once each, and not what was there before', async () => {
    const called_ = await called();
    const { world, propagations } = called_;
    const events = called_.watch();
    await events.next();
    const first = events.next();
    expect(propagations).toEqual([]);
    await rotate(world);
    await first;
    await world.clock.advance(7);
    const more: string[] = [];
    for (let i = 0; i < 40; i++) {
      const next = events.next();
      await world.clock.advance(10 * SECOND);
      more.push((await next).value.event.case);
    }
    expect(more).toContain('state');
    expect(propagations).toEqual([7]);
  });
});
