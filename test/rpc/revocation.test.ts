import type { ClientHttp2Stream } from 'node:http2';
import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LOOK_MS } from '../../src/core/access/access.ts';
import type { Rule } from '../../src/core/access/ports.ts';
import { SendTemplatesRequestSchema, SendTemplatesResponseSchema } from '../../src/gen/lingpai/v1/message_pb.js';
import {
  ForceRefreshRequestSchema,
  GetRequestSchema,
  WatchTokenRequestSchema,
  WatchTokenResponseSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { FakeLimiter, FakeRights, Guarded, WHO } from '../support/access.ts';
import { settle } from '../support/clock.ts';
import { framed, outcome, RawConnection } from '../support/raw-http2.ts';
import { until } from '../support/rpc.ts';
import { SECOND } from '../support/world.ts';

const TOKENS = '/lingpai.v1.TokenService/';
const ORDERS = { [WHO]: 'key:orders' };
const OTHER = { [WHO]: 'key:other' };
const SENDER = { [WHO]: 'key:sender' };
const RULES: Rule[] = [
  { who: ['key:orders'], may: ['read'], apps: ['wxa', 'wxb'] },
  { who: ['key:other'], may: ['read', 'refresh', 'admin', 'status'], apps: ['*'] },
  { who: ['key:sender'], may: ['send'], apps: ['wxa'] },
];

const watchOf = (appIds: string[], knownGenerations: Record<string, bigint> = {}) =>
  framed(toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema, { appIds, knownGenerations })));
const getOf = (appId: string, minGeneration = 0n) =>
  framed(toBinary(GetRequestSchema, create(GetRequestSchema, { appId, minGeneration })));

const forceOf = (appId: string) =>
  framed(toBinary(ForceRefreshRequestSchema, create(ForceRefreshRequestSchema, { appId })));

let broker: Guarded;

async function start(limiter?: FakeLimiter): Promise<void> {
  const apps = { wxa: 'classic', wxb: 'classic', wxc: 'classic' } as const;
  broker = await Guarded.started({ apps, rules: RULES, ...(limiter && { limiter }) });
}

beforeEach(() => start());
afterEach(() => broker.stop());

/** What a watch was sent, in words, and its end. */
class Watching {
  readonly told: string[] = [];
  readonly ended: ReturnType<typeof outcome>;
  readonly stream: ClientHttp2Stream;

  constructor(raw: RawConnection, headers: Record<string, string>, request = watchOf([])) {
    this.stream = raw.open(`${TOKENS}WatchToken`, request, headers);
    this.ended = outcome(this.stream);
    let rest = Buffer.alloc(0);
    this.stream.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
        const { event } = fromBinary(WatchTokenResponseSchema, rest.subarray(5, 5 + rest.readUInt32BE(1)));
        rest = rest.subarray(5 + rest.readUInt32BE(1));
        if (event.case === 'state') this.told.push(event.value.appId);
        if (event.case === 'removed') this.told.push(`${event.value.appId} removed`);
      }
    });
  }

  /** Waits until it was sent so much, and returns that. */
  async sent(count: number): Promise<string[]> {
    await until(() => this.told.length >= count);
    return this.told.splice(0);
  }
}

describe('a watch', () => {
  it('of an app by name ends when its caller loses that app', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    const lost = new Watching(raw, ORDERS, watchOf(['wxa', 'wxb']));
    const kept = new Watching(raw, ORDERS, watchOf(['wxa']));
    await lost.sent(2);
    await kept.sent(1);
    broker.access.replace({ rights: new FakeRights([{ who: ['key:orders'], may: ['read'], apps: ['wxa'] }]) });
    expect((await lost.ended).fields).toMatchObject({ 'grpc-status': '7' });
    await until(() => broker.audit.of('stream.ended').length === 1);
    expect(broker.world.broker.watchers).toBe(1);
    expect(broker.access.callers().map(({ openStreams }) => openStreams)).toEqual([1]);
  });

  it.each([
    ['connect+json', '"code":"permission_denied"'],
    ['grpc-web+proto', 'grpc-status: 7'],
  ])('over HTTP ends with its status when its caller loses that app, as %s', async (type, status) => {
    const request = create(WatchTokenRequestSchema, { appIds: ['wxa'] });
    const json = Buffer.from(toJsonString(WatchTokenRequestSchema, request));
    const response = await fetch(`http://${broker.listeners.http.address}${TOKENS}WatchToken`, {
      method: 'POST',
      headers: { ...ORDERS, 'content-type': `application/${type}` },
      body: framed(type.endsWith('json') ? json : toBinary(WatchTokenRequestSchema, request)),
    });
    await until(() => broker.access.callers().some(({ openStreams }) => openStreams === 1));
    broker.access.replace({ rights: new FakeRights([{ who: ['key:orders'], may: ['read'], apps: ['wxb'] }]) });
    const text = await response.text();
    expect(text).toContain('wxa');
    expect(text).toContain(status);
    expect(broker.world.broker.watchers).toBe(0);
    expect(broker.access.callers().map(({ openStreams }) => openStreams)).toEqual([0]);
  });

  it('of all is told of what its caller may read, and of what it loses and gains', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    const watching = new Watching(raw, ORDERS);
    expect((await watching.sent(2)).sort()).toEqual(['wxa', 'wxb']);
    broker.access.replace({ rights: new FakeRights([{ who: ['key:orders'], may: ['read'], apps: ['wxb', 'wxc'] }]) });
    expect((await watching.sent(2)).sort()).toEqual(['wxa removed', 'wxc']);
    broker.access.replace({ rights: new FakeRights([{ who: ['key:orders'], may: ['read'], apps: ['*'] }]) });
    expect(await watching.sent(1)).toEqual(['wxa']);
    broker.access.replace({ rights: new FakeRights([]) });
    expect((await watching.ended).fields).toMatchObject({ 'grpc-status': '7' });
  });

  it('of all goes on while its caller has a rule, also where it may read nothing', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    broker.access.replace({ rights: new FakeRights([{ who: ['key:orders'], may: ['send'], apps: ['wxa'] }]) });
    const watching = new Watching(raw, ORDERS);
    await until(() => broker.world.broker.watchers === 1);
    broker.access.replace({ rights: new FakeRights(RULES) });
    expect((await watching.sent(2)).sort()).toEqual(['wxa', 'wxb']);
  });

  it('what it says that it knows of apps that its caller may not read is ignored', async () => {
    const raised: unknown[] = [];
    broker.world.broker.watch = new Proxy(broker.world.broker.watch, {
      apply(target, self, [options]) {
        raised.push([...options.known.keys()]);
        return Reflect.apply(target, self, [options]);
      },
    });
    using raw = new RawConnection(broker.listeners.grpc.address);
    await new Watching(raw, ORDERS, watchOf([], { wxb: 1n, wxc: 2n ** 50n, wxd: 5n })).sent(2);
    expect(raised).toEqual([['wxb']]);
  });

  it('is one of its caller as long as it is open', async () => {
    await broker.stop();
    await start(new FakeLimiter({ streams: 2 }));
    using raw = new RawConnection(broker.listeners.grpc.address);
    const [first, second] = [new Watching(raw, ORDERS), new Watching(raw, ORDERS)];
    await first.sent(2);
    await second.sent(2);
    const refused = (await raw.call(`${TOKENS}WatchToken`, watchOf([]), ORDERS)).fields;
    expect([refused['grpc-status'], String(refused['grpc-message'])]).toEqual(['8', expect.stringMatching(/limits/)]);
    await new Watching(raw, OTHER).sent(3);
    first.stream.close();
    await until(() => broker.world.broker.watchers === 2);
    await new Watching(raw, ORDERS).sent(2);
  });
});

describe('a call whose head came before its credential was revoked, and its body after', () => {
  it.each([
    ['Get', getOf('wxa')],
    ['WatchToken', watchOf([])],
    ['ForceRefresh', forceOf('wxa')],
  ])('%s is refused, and does nothing', async (method, body) => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    await broker.world.clock.advance(31 * SECOND);
    const before = broker.world.state('wxa').generation;
    const stream = raw.open(`${TOKENS}${method}`, undefined, OTHER);
    const ended = outcome(stream);
    await until(() => broker.access.callers().length === 1);
    broker.credentials.revoked.add('key:other');
    stream.end(body);
    await until(() => broker.audit.events.length > 0);
    expect(broker.audit.events).toMatchObject([{ event: 'authn.failed', caller: 'key:other' }]);
    await broker.world.clock.advance(SECOND);
    expect((await ended).fields).toMatchObject({ 'grpc-status': '16' });
    expect([(await ended).body.length, broker.world.state('wxa').generation]).toEqual([0, before]);
    expect([broker.world.broker.watchers, broker.access.followed]).toEqual([0, 0]);
  });

  it('nor does a message of a stream that has not ended yet', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    const stream = raw.open('/lingpai.v1.MessageService/SendTemplates', undefined, SENDER);
    const ended = outcome(stream);
    await until(() => broker.access.followed === 1);
    broker.credentials.revoked.add('key:sender');
    const init = { correlationId: '1', message: { appId: 'wxa' } };
    stream.end(framed(toBinary(SendTemplatesRequestSchema, create(SendTemplatesRequestSchema, init))));
    const { body } = await ended;
    const { outcome: answer } = fromBinary(SendTemplatesResponseSchema, body.subarray(5));
    expect(answer).toMatchObject({ case: 'failure', value: { reason: 'CREDENTIALS_INVALID' } });
  });
});

describe('a call that waits', () => {
  it('for a generation gets no token once its caller has lost the right (P14)', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    const before = BigInt(broker.world.state('wxa').generation);
    const call = raw.call(`${TOKENS}Get`, getOf('wxa', before + 1n), ORDERS);
    const allowed = raw.call(`${TOKENS}Get`, getOf('wxa', before + 1n), OTHER);
    await until(() => broker.access.callers().length === 2);
    broker.access.replace({ rights: new FakeRights(RULES.slice(1)) });
    await broker.world.clock.advance(31 * SECOND);
    const refreshed = broker.world.broker.forceRefresh('wxa', undefined);
    await broker.world.clock.advance(SECOND);
    await refreshed;
    expect((await call).fields).toMatchObject({ 'grpc-status': '7' });
    expect((await allowed).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('for a refresh that it asked for gets no token once its credential is revoked', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    await broker.world.clock.advance(31 * SECOND);
    broker.world.break({ kind: 'latency', ms: 2 * SECOND });
    const init = { appId: 'wxa', rejected: { case: 'rejectedToken', value: broker.world.token('wxa') } } as const;
    const request = framed(toBinary(ForceRefreshRequestSchema, create(ForceRefreshRequestSchema, init)));
    const call = raw.call(`${TOKENS}ForceRefresh`, request, ORDERS);
    await until(() => broker.access.callers().length === 1);
    for (let turn = 0; turn < 5; turn++) await settle();
    broker.credentials.revoked.add('key:orders');
    await broker.world.clock.advance(10 * SECOND);
    expect((await call).fields).toMatchObject({ 'grpc-status': '16' });
    // It was done all the same, and the log says so.
    const tokenId = broker.world.state('wxa').current?.id;
    expect(broker.audit.of('token.reported')).toMatchObject([{ outcome: 'STILL_VALID', tokenId }]);
    expect(broker.audit.of('authn.failed')).toMatchObject([{ caller: 'key:orders', method: 'key' }]);
  });

  it('for a refresh that WeChat makes is recorded as what it made, though its caller may not have it any more', async () => {
    using raw = new RawConnection(broker.listeners.grpc.address);
    await broker.world.clock.advance(31 * SECOND);
    broker.world.break({ kind: 'latency', ms: 2 * SECOND });
    const before = broker.world.state('wxa').current?.id;
    const call = raw.call(`${TOKENS}ForceRefresh`, forceOf('wxa'), OTHER);
    await until(() => broker.access.callers().length === 1);
    for (let turn = 0; turn < 5; turn++) await settle();
    broker.credentials.revoked.add('key:other');
    await broker.world.clock.advance(10 * SECOND);
    expect((await call).fields).toMatchObject({ 'grpc-status': '16' });
    const tokenId = broker.world.state('wxa').current?.id;
    expect(tokenId).not.toBe(before);
    expect(broker.audit.of('token.refreshed')).toMatchObject([{ outcome: 'REFRESHED', tokenId }]);
  });
});

describe('10,000 streams of one caller', () => {
  const CONNECTIONS = 20;
  const STREAMS = 500;
  const WATCHES = CONNECTIONS * STREAMS;

  it('end when it is revoked, those too that nobody reads, and others are served in between (P14)', {
    timeout: 120_000,
  }, async () => {
    const { address } = broker.listeners.grpc;
    // The last connections allow so few bytes on their way that the first state is not wholly read.
    const unread = 2;
    const connections = Array.from(
      { length: CONNECTIONS },
      (_, i) => new RawConnection(address, i < unread ? 10 : undefined),
    );
    const statuses: Record<string, number> = {};
    let ended = 0;
    const ends = connections.flatMap((raw, i) =>
      Array.from({ length: STREAMS }, async () => {
        const stream = raw.open(`${TOKENS}WatchToken`, watchOf(['wxa']), ORDERS);
        if (i < unread) stream.pause();
        else stream.resume();
        let status = '';
        stream.on('trailers', (trailers) => {
          status = String(trailers['grpc-status']);
        });
        await new Promise((resolve) => stream.once('close', resolve));
        ended++;
        const how = status || `reset ${stream.rstCode}`;
        statuses[how] = (statuses[how] ?? 0) + 1;
      }),
    );
    await until(() => broker.world.broker.watchers === WATCHES);
    using polite = new RawConnection(address);
    const kept = new Watching(polite, OTHER);
    await kept.sent(3);

    broker.credentials.revoked.add('key:orders');
    // Nobody says that anything has changed: it is looked for.
    await broker.world.clock.advance(LOOK_MS);
    let servedMeanwhile = 0;
    while (broker.world.broker.watchers > 1) {
      const { fields } = await polite.call(`${TOKENS}Get`, getOf('wxb'), OTHER);
      expect(fields).toMatchObject({ 'grpc-status': '0' });
      servedMeanwhile++;
    }
    expect(servedMeanwhile).toBeGreaterThan(3);
    // What is not read leaves no room for a status: a reset does.
    await until(() => ended >= WATCHES - unread * STREAMS);
    await broker.world.clock.advance(SECOND);
    await Promise.all(ends);
    expect(statuses).toEqual({ '16': WATCHES - unread * STREAMS, 'reset 11': unread * STREAMS });
    expect(broker.access.followed).toBe(2);
    expect(broker.audit.of('stream.ended')).toHaveLength(WATCHES);
    for (const raw of connections) raw[Symbol.dispose]();
    expect((await polite.call(`${TOKENS}Get`, getOf('wxa'), ORDERS)).fields).toMatchObject({ 'grpc-status': '16' });
  });
});
