import { constants } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { type StringValue, StringValueSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LOCAL, type Principal } from '../../src/core/access/principal.ts';
import type { Refusal } from '../../src/server/connections.ts';
import { type GrpcOptions, startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import { callerOf } from '../../src/transport/call.ts';
import type { Head } from '../../src/transport/head.ts';
import type { Service } from '../../src/transport/service.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { echo } from '../support/echo.ts';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  FRAME,
  framed,
  HEAD,
  h2,
  headerBlock,
  headerField,
  outcome,
  RawConnection,
  RawSocket,
} from '../support/raw-http2.ts';
import { ForeignClient, grpcOf, Mounted, until } from '../support/rpc.ts';

const SAY = '/test.Echo/Say';
const CHAT = '/test.Echo/Chat';
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR } = constants;
const STALL_MS = 30_000;
const MiB = 1024 * 1024;

const hello = framed(toBinary(StringValueSchema, create(StringValueSchema, { value: 'hello' })));
const large = (bytes: number) => ({ value: 'x'.repeat(bytes) });

let clock: FakeClock;
let mounted: Mounted;
let listener: Listener;
/** What reached a handler. */
let handled: string[];

const impl = {
  say: ({ value }: StringValue, _: HandlerContext): unknown => {
    handled.push(value);
    return create(StringValueSchema, { value });
  },
  async *chat(requests: AsyncIterable<StringValue>) {
    for await (const { value } of requests) {
      handled.push(value);
      yield { value };
    }
  },
};

async function serve(changed: Partial<typeof impl> = {}, options: Partial<GrpcOptions> = {}): Promise<void> {
  mounted = new Mounted(clock, { desc: echo(), impl: { ...impl, ...changed } } as unknown as Service);
  listener = await startGrpc({ ...grpcOf(mounted), ...options });
}

beforeEach(() => {
  clock = new FakeClock();
  handled = [];
});

afterEach(async () => {
  await listener.stop();
  expect(mounted.faults).toEqual([]);
  await until(() => clock.pending === 0);
});

/** Fails the test unless calls are answered. */
async function expectAnswers(address = listener.address): Promise<void> {
  using polite = new RawConnection(address);
  expect((await polite.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
}

describe('a call begins only when its head is right', () => {
  it.each([
    ['GET', { ':method': 'GET' }, { ':status': 405, allow: 'POST' }],
    ['JSON', { 'content-type': 'application/json' }, { ':status': 415, 'accept-post': expect.any(String) }],
    ['gRPC with JSON', { 'content-type': 'application/grpc+json' }, { ':status': 415 }],
    ['gRPC-Web', { 'content-type': 'application/grpc-web' }, { ':status': 415 }],
    ['no content-type', { 'content-type': undefined }, { ':status': 415 }],
    ['no te', { te: undefined }, { ':status': 200, 'grpc-status': '3', 'grpc-message': /trailers/ }],
    ['a path that is not listed', { ':path': '/test.Echo/Guess' }, { ':status': 200, 'grpc-status': '12' }],
    ['a path with a query', { ':path': `${SAY}?x` }, { 'grpc-status': '12' }],
    ['a path in other case', { ':path': SAY.toLowerCase() }, { 'grpc-status': '12' }],
    ['no path of ours', { ':path': '/' }, { 'grpc-status': '12' }],
    ['gzip', { 'grpc-encoding': 'gzip' }, { 'grpc-status': '12', 'grpc-accept-encoding': 'identity' }],
    ['a timeout of words', { 'grpc-timeout': 'soon' }, { 'grpc-status': '3', 'grpc-message': /grpc-timeout/ }],
    ['a timeout below zero', { 'grpc-timeout': '-1S' }, { 'grpc-status': '3' }],
    ['a timeout without unit', { 'grpc-timeout': '1' }, { 'grpc-status': '3' }],
    ['a timeout of nine digits', { 'grpc-timeout': '100000000m' }, { 'grpc-status': '3' }],
    ['an empty timeout', { 'grpc-timeout': '' }, { 'grpc-status': '3' }],
  ])('%s', async (_, headers, expected) => {
    await serve();
    using raw = new RawConnection(listener.address);
    // It is decided before anything of the body was sent.
    const { fields } = await raw.call(SAY, undefined, headers);
    for (const [name, value] of Object.entries(expected)) {
      if (value instanceof RegExp) expect(decodeURIComponent(String(fields[name]))).toMatch(value);
      else expect(fields).toMatchObject({ [name]: value });
    }
    expect(handled).toEqual([]);
    expect(mounted.calls).toEqual([]);
    await expectAnswers();
  });

  it.each([SAY, CHAT, REFLECTION, '/grpc.health.v1.Health/Check', '/grpc.health.v1.Health/Watch'])(
    'compressed messages are refused by %s, by header and by flag',
    async (path) => {
      await serve();
      using raw = new RawConnection(listener.address);
      const refused = { 'grpc-status': '12', 'grpc-accept-encoding': 'identity' };
      expect((await raw.call(path, undefined, { 'grpc-encoding': 'gzip' })).fields).toMatchObject(refused);
      expect((await raw.call(path, framed(Buffer.from('x'), 1))).fields).toMatchObject(refused);
      expect(handled).toEqual([]);
    },
  );

  it('many compressed messages of one frame are not even looked at', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    const bodies = Buffer.concat(Array.from({ length: 10_000 }, () => framed(Buffer.alloc(100), 1)));
    expect((await raw.call(SAY, bodies)).fields).toMatchObject({ 'grpc-status': '12' });
    await expectAnswers();
  });

  it('the caller is found out before the body is read, and seen by the handler', async () => {
    const heads: Head[] = [];
    let seen = '';
    const say = (request: StringValue, context: HandlerContext) => {
      seen = callerOf(context).caller.name;
      return request;
    };
    await serve(
      { say },
      {
        authenticate: (head) => {
          heads.push(head);
          if (!head.headers['authorization']) throw new ConnectError('who are you?', Code.Unauthenticated);
          return { ...LOCAL, name: 'key:orders' };
        },
      },
    );
    using raw = new RawConnection(listener.address);
    for (const path of [SAY, CHAT, REFLECTION])
      expect((await raw.call(path)).fields).toMatchObject({ 'grpc-status': '16' });
    expect((await raw.call(SAY, hello, { authorization: 'Bearer x' })).fields).toMatchObject({ 'grpc-status': '0' });
    expect(seen).toBe('key:orders');
    expect(heads.at(-1)).toMatchObject({ path: SAY, socket: { remoteAddress: '127.0.0.1' } });
  });

  it('a header with white space around its value is seen, and not left out as if it had not been sent', async () => {
    const seen: unknown[] = [];
    const authenticate = ({ headers, rawHeaders }: Head) => {
      seen.push(headers['authorization'], rawHeaders?.includes('authorization'));
      return LOCAL;
    };
    await serve({}, { authenticate });
    using raw = new RawSocket(listener.address);
    const block = Buffer.concat([headerBlock(SAY), headerField('authorization', 'Bearer x ')]);
    raw.socket.write(h2(FRAME.headers, END_HEADERS, 1, block));
    raw.socket.write(h2(FRAME.data, END_STREAM, 1, hello));
    await until(() => seen.length > 0);
    expect(seen).toEqual(['Bearer x ', true]);
  });

  it('everyone is local where nobody asks', async () => {
    let seen = '';
    await serve({
      say: (request, context) => {
        seen = callerOf(context).caller.name;
        return request;
      },
    });
    await expectAnswers();
    expect(seen).toBe('local');
  });
});

describe('where it takes time to know who calls', () => {
  /** Serves with an answer to who calls that is given when the test says so. */
  async function serveLater() {
    const asked: PromiseWithResolvers<Principal>[] = [];
    const authenticate = () => {
      const answer = Promise.withResolvers<Principal>();
      asked.push(answer);
      return answer.promise;
    };
    await serve({}, { authenticate });
    return asked;
  }

  it.each([
    ['unary', SAY],
    ['bidirectional', CHAT],
  ])('a %s call begins then, and nothing of its body is read before', async (_, path) => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const call = raw.call(path, hello);
    await until(() => asked.length === 1);
    for (let turn = 0; turn < 20; turn++) await settle();
    expect([handled, mounted.calls]).toEqual([[], []]);
    asked[0]?.resolve(LOCAL);
    expect((await call).fields).toMatchObject({ 'grpc-status': '0' });
    expect(handled).toEqual(['hello']);
  });

  it('a bidirectional call has what came before and what comes after, whole or in parts', async () => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const stream = raw.open(CHAT);
    const call = outcome(stream);
    stream.write(Buffer.concat([hello, hello.subarray(0, 3)]));
    await until(() => asked.length === 1);
    for (let turn = 0; turn < 20; turn++) await settle();
    asked[0]?.resolve(LOCAL);
    await until(() => handled.length === 1);
    stream.end(hello.subarray(3));
    const { fields, body } = await call;
    expect([fields['grpc-status'], handled, body.equals(Buffer.concat([hello, hello]))]).toEqual([
      '0',
      ['hello', 'hello'],
      true,
    ]);
  });

  it.each([
    ['unary', SAY, '12'],
    ['bidirectional', CHAT, '0'],
  ])('a %s call without a request ends', async (_, path, status) => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const stream = raw.open(path);
    const call = outcome(stream);
    stream.end();
    await until(() => asked.length === 1);
    for (let turn = 0; turn < 20; turn++) await settle();
    asked[0]?.resolve(LOCAL);
    expect((await call).fields).toMatchObject({ 'grpc-status': status });
  });

  it('frames of one byte end the connection also then', async () => {
    await serveLater();
    using raw = new RawSocket(listener.address);
    raw.socket.write(h2(FRAME.headers, END_HEADERS, 1, headerBlock(SAY)));
    const crumbs = Buffer.concat(Array.from({ length: 1_100 }, () => h2(FRAME.data, 0, 1, Buffer.alloc(1))));
    raw.socket.write(crumbs);
    await raw.closed;
  });

  it('who is refused then is told so, and no handler is called', async () => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello);
    await until(() => asked.length === 1);
    asked[0]?.reject(new ConnectError('who are you?', Code.Unauthenticated));
    expect((await call).fields).toMatchObject({ 'grpc-status': '16' });
    expect([handled, mounted.calls]).toEqual([[], ['test.Echo/Say UNAUTHENTICATED']]);
  });

  it.each([
    ['whole', hello, true],
    ['not whole', hello.subarray(0, 3), false],
  ])(
    '1,500 refusals of calls whose body is %s leave the connection to those who share it',
    async (_, body, isWhole) => {
      const refuse = async () => {
        // Its body has come by then.
        for (let turn = 0; turn < 10; turn++) await settle();
        throw new ConnectError('who are you?', Code.Unauthenticated);
      };
      const authenticate = ({ headers }: Head) => (headers['authorization'] ? LOCAL : refuse());
      await serve({}, { authenticate });
      using raw = new RawConnection(listener.address);
      const other = raw.open(CHAT, undefined, { authorization: 'Bearer x' });
      const refused = async () => {
        const stream = raw.open(SAY);
        const ended = outcome(stream);
        stream.write(body);
        if (isWhole) stream.end();
        return (await ended).fields['grpc-status'];
      };
      for (let i = 0; i < 30; i++)
        expect(new Set(await Promise.all(Array.from({ length: 50 }, refused)))).toEqual(new Set(['16']));
      const answer = new Promise((resolve) => other.once('data', resolve));
      other.write(hello);
      await answer;
      expect(raw.goaways).toEqual([]);
    },
  );

  it.each(['it was not believed', 'its deadline passed'])(
    'a call whose body came before %s leaves nothing',
    async (why) => {
      const asked: PromiseWithResolvers<Principal>[] = [];
      let socket: Head['socket'];
      const authenticate = (head: Head) => {
        socket = head.socket;
        const answer = Promise.withResolvers<Principal>();
        asked.push(answer);
        return answer.promise;
      };
      await serve({}, { authenticate });
      const raw = new RawConnection(listener.address);
      const call = raw.call(SAY, hello, { 'grpc-timeout': '2S' });
      await until(() => asked.length === 1);
      for (let turn = 0; turn < 20; turn++) await settle();
      if (why === 'it was not believed') asked[0]?.reject(new ConnectError('who are you?', Code.Unauthenticated));
      else await clock.advance(2_000);
      await call;
      raw[Symbol.dispose]();
      // Its session goes when all of its streams have.
      for (let turn = 0; turn < 1_000 && !socket?.destroyed; turn++) await settle();
      expect(socket?.destroyed).toBe(true);
    },
  );

  it('who leaves meanwhile leaves nothing, and is counted', async () => {
    const asked = await serveLater();
    const raw = new RawConnection(listener.address);
    void raw.call(SAY, hello);
    await until(() => asked.length === 1);
    raw[Symbol.dispose]();
    await until(() => mounted.calls.length === 1);
    expect(mounted.calls).toEqual(['test.Echo/Say CANCELLED']);
    asked[0]?.resolve(LOCAL);
    await settle();
    expect(handled).toEqual([]);
  });

  it('a deadline passes meanwhile as at any other time', async () => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello, { 'grpc-timeout': '2S' });
    await until(() => asked.length === 1);
    await clock.advance(2_000);
    expect((await call).fields).toMatchObject({ 'grpc-status': '4' });
    asked[0]?.resolve(LOCAL);
    await settle();
    expect([handled, mounted.calls]).toEqual([[], ['test.Echo/Say DEADLINE_EXCEEDED']]);
  });

  it('what is left of a deadline is what the call has', async () => {
    const left: (number | undefined)[] = [];
    const say = (request: StringValue, context: HandlerContext) => {
      left.push(context.timeoutMs());
      return request;
    };
    const answer = Promise.withResolvers<Principal>();
    let asked = false;
    const authenticate = () => {
      asked = true;
      return answer.promise;
    };
    await serve({ say }, { authenticate });
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello, { 'grpc-timeout': '5S' });
    await until(() => asked);
    await clock.advance(2_000);
    answer.resolve(LOCAL);
    await call;
    expect(left).toEqual([3_000]);
  });

  it('those that wait beyond 512 are refused, and say when to come again', async () => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const calls = Array.from({ length: 513 }, () => raw.call(SAY, hello));
    await until(() => asked.length === 513);
    expect((await Promise.race(calls)).fields).toMatchObject({ 'grpc-status': '8' });
    for (const { resolve } of asked) resolve(LOCAL);
    const statuses = (await Promise.all(calls)).map(({ fields }) => fields['grpc-status']);
    expect(statuses.filter((status) => status === '0')).toHaveLength(512);
  });

  it('a drain waits for it', async () => {
    const asked = await serveLater();
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello);
    await until(() => asked.length === 1);
    const drained = listener.drain(10_000);
    for (let turn = 0; turn < 20; turn++) await settle();
    await clock.advance(1_500);
    asked[0]?.resolve(LOCAL);
    expect((await call).fields).toMatchObject({ 'grpc-status': '0' });
    await clock.advance(10_000);
    await drained;
  });
});

describe('a body', () => {
  it.each([
    ['no message', Buffer.alloc(0), '12'],
    ['two messages', Buffer.concat([hello, hello]), '12'],
    ['data after the message', Buffer.concat([hello, Buffer.from([0])]), '3'],
    ['half a message', hello.subarray(0, -1), '3'],
    ['half a head', hello.subarray(0, 3), '3'],
    ['flags that gRPC does not know', framed(Buffer.from('x'), 2), '3'],
    ['garbage for protobuf', framed(Buffer.from([0xff, 0xff])), '3'],
    ['a length over the limit', framed(Buffer.from('x'), 0, MiB + 1), '8'],
    ['a length of 4 GiB', framed(Buffer.from('x'), 0, 2 ** 32 - 1), '8'],
  ])('with %s is refused', async (_, body, status) => {
    await serve();
    using raw = new RawConnection(listener.address);
    expect((await raw.call(SAY, body)).fields).toMatchObject({ 'grpc-status': status });
    expect(handled).toEqual([]);
    await expectAnswers();
  });

  it.each([
    ['half a message', hello.subarray(0, -1), '3'],
    ['flags that gRPC does not know', framed(Buffer.from('x'), 2), '3'],
    ['garbage for protobuf', framed(Buffer.from([0xff, 0xff])), '3'],
    ['a length over the limit', framed(Buffer.from('x'), 0, MiB + 1), '8'],
  ])('of a stream with %s is refused after what came before', async (_, body, status) => {
    await serve();
    using raw = new RawConnection(listener.address);
    const answer = await raw.call(CHAT, Buffer.concat([hello, body]));
    expect(answer.fields).toMatchObject({ 'grpc-status': status });
    expect(handled).toEqual(['hello']);
  });

  it.each([
    [SAY, '12'],
    [CHAT, '0'],
  ])('of %s that ends with the head is an empty one', async (path, status) => {
    await serve();
    using raw = new RawConnection(listener.address);
    const stream = raw.session.request({ ...HEAD, ':path': path }, { endStream: true });
    expect((await outcome(stream)).fields).toMatchObject({ 'grpc-status': status });
    expect(handled).toEqual([]);
  });

  it('may come in pieces of any size', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    const request = framed(toBinary(StringValueSchema, create(StringValueSchema, large(300))));
    for (const path of [SAY, CHAT]) {
      const stream = raw.open(path);
      const ended = outcome(stream);
      for (const byte of request) stream.write(Buffer.from([byte]));
      stream.end();
      const { fields, body } = await ended;
      expect(fields).toMatchObject({ 'grpc-status': '0' });
      expect(body.equals(request)).toBe(true);
    }
  });

  it('of 16 KiB and more waits for its turn, and what is small passes it', async () => {
    const waiting: (() => void)[] = [];
    await serve({}, { pause: () => new Promise((resolve) => waiting.push(resolve)) });
    using raw = new RawConnection(listener.address);
    const message = toBinary(StringValueSchema, create(StringValueSchema, large(16_384)));
    const call = raw.call(SAY, framed(message));
    await until(() => waiting.length === 1);
    expect((await raw.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
    expect(handled).toEqual(['hello']);
    waiting[0]?.();
    expect((await call).fields).toMatchObject({ 'grpc-status': '0' });
    expect(handled).toHaveLength(2);
  });

  it('of a refused call is read and dropped, and its connection goes on', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    const stream = raw.open(SAY, undefined, { 'grpc-encoding': 'gzip' });
    const refused = outcome(stream);
    stream.end(Buffer.alloc(MiB));
    expect((await refused).fields).toMatchObject({ 'grpc-status': '12' });
    for (const path of [SAY, CHAT]) {
      const late = raw.open(path);
      const failed = outcome(late);
      late.end(Buffer.concat([framed(Buffer.from('x'), 2), Buffer.alloc(MiB)]));
      expect((await failed).fields).toMatchObject({ 'grpc-status': '3' });
    }
    expect((await raw.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('that no handler asks for stays with its sender', async () => {
    await serve();
    using raw = new RawConnection(listener.address, 3);
    const stream = raw.open(CHAT);
    // The first answer is not read: no more requests are asked for.
    stream.pause();
    let isTaken = false;
    stream.write(Buffer.concat(Array.from({ length: 100_000 }, () => hello)), () => {
      isTaken = true;
    });
    await until(() => handled.length > 0);
    for (let i = 0; i < 50; i++) await settle();
    expect([isTaken, handled.length]).toEqual([false, 1]);
  });
});

describe('calls that come at once', () => {
  const MANY = 250;
  const all = Buffer.concat(
    Array.from({ length: MANY }, (_, i) =>
      Buffer.concat([
        h2(FRAME.headers, END_HEADERS, 2 * i + 1, headerBlock(SAY)),
        h2(FRAME.data, END_STREAM, 2 * i + 1, hello),
      ]),
    ),
  );

  it('on one connection are handled in several turns, in which others have theirs', async () => {
    const turns: number[] = [];
    let turn = 0;
    let isCounting = true;
    const count = () => {
      turn++;
      if (isCounting) setImmediate(count);
    };
    await serve({
      say: () => {
        turns.push(turn);
        return {};
      },
    });
    count();
    using busy = new RawSocket(listener.address);
    busy.socket.write(all);
    await until(() => turns.length === MANY);
    isCounting = false;
    for (const each of new Set(turns)) expect(turns.filter((one) => one === each).length).toBeLessThanOrEqual(100);
    expect(turns).toEqual(turns.toSorted((a, b) => a - b));
    await until(() => mounted.calls.length === MANY);
  });

  it('are not handled any more once their connection is gone', async () => {
    let busy: RawSocket | undefined;
    await serve({
      say: () => {
        handled.push('');
        busy?.socket.destroy();
        return new Promise(() => {});
      },
    });
    busy = new RawSocket(listener.address);
    busy.socket.write(all);
    await until(() => mounted.calls.length === MANY);
    expect(new Set(mounted.calls)).toEqual(new Set(['test.Echo/Say CANCELLED']));
  });
});

describe('headers', () => {
  it('of bytes, binary ones and repeated ones reach the handler; odd words of an error reach the caller', async () => {
    let seen: (string | null)[] = [];
    await serve({
      say: (_, { requestHeader }) => {
        seen = ['x-text', 'x-bin', 'x-two'].map((name) => requestHeader.get(name));
        throw new ConnectError('50 % of "Größe",\n微信: a/b;c', Code.Aborted, { 'x-note': 'noted' });
      },
    });
    using raw = new RawConnection(listener.address);
    const { fields } = await raw.call(SAY, hello, { 'x-text': 'caf\xe9', 'x-bin': 'AP8=', 'x-two': ['a', 'b'] });
    expect(seen).toEqual(['caf\xe9', 'AP8=', 'a, b']);
    expect(fields).toMatchObject({ 'grpc-status': '10', 'x-note': 'noted' });
    expect(fields['grpc-message']).toMatch(/^[ -~]*$/);
    expect(decodeURIComponent(String(fields['grpc-message']))).toBe('50 % of "Größe",\n微信: a/b;c');
  });

  it.each([8_000, 60_000])('of %i bytes and more are refused', async (bytes) => {
    await serve();
    using raw = new RawConnection(listener.address);
    const fits = await raw.call(SAY, hello, { 'x-long': 'x'.repeat(7_500) });
    expect(fits.fields).toMatchObject({ 'grpc-status': '0' });
    // Node refuses this, for its peer knows the limit by now.
    const known = await raw.call(SAY, undefined, { 'x-long': 'x'.repeat(bytes) });
    expect(known.reset).not.toBe(0);
    using early = new RawConnection(listener.address);
    const { fields } = await early.call(SAY, undefined, { 'x-long': 'x'.repeat(bytes) });
    expect(fields).toMatchObject({ 'grpc-status': '8' });
    expect(handled).toEqual(['hello']);
    await expectAnswers();
  });
});

describe('deadlines', () => {
  const never = { say: () => new Promise(() => {}) };

  it('go by the clock', async () => {
    await serve(never);
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello, { 'grpc-timeout': '100m' });
    const before = clock.pending;
    await until(() => clock.pending > before);
    await clock.advance(99);
    expect(mounted.calls).toEqual([]);
    await clock.advance(1);
    expect((await call).fields).toMatchObject({ 'grpc-status': '4' });
    expect(mounted.calls).toEqual(['test.Echo/Say DEADLINE_EXCEEDED']);
  });

  it.each(['99999999H', '2147483647m', '99999999S'])('of %s do not pass at once', async (timeout) => {
    let left: number | undefined;
    await serve({
      say: (request, context) => {
        left = context.timeoutMs();
        return request;
      },
    });
    using raw = new RawConnection(listener.address);
    // The call of 2147483647m is malformed (eight digits at most): it is an error, and not the past.
    const { fields } = await raw.call(SAY, hello, { 'grpc-timeout': timeout });
    if (timeout.length > 9) expect(fields).toMatchObject({ 'grpc-status': '3' });
    else {
      expect(fields).toMatchObject({ 'grpc-status': '0' });
      expect(left).toBe(2 ** 31 - 1);
    }
  });

  it('that have passed are told so', async () => {
    await serve(never);
    using raw = new RawConnection(listener.address);
    const call = raw.call(SAY, hello, { 'grpc-timeout': '0m' });
    while (mounted.calls.length === 0) await clock.advance(0);
    expect((await call).fields).toMatchObject({ 'grpc-status': '4' });
  });
});

describe('what a peer leaves lying', () => {
  /** Lets the clock pass the stall time-out once everything has arrived. */
  async function stall(): Promise<void> {
    for (let i = 0; i < 20; i++) await settle();
    await clock.advance(STALL_MS);
  }

  it('an answer that is not read is reset', async () => {
    await serve();
    using raw = new RawConnection(listener.address, 3);
    const stream = raw.open(SAY, hello);
    stream.pause();
    const reset = new Promise<number>((resolve) => stream.once('close', () => resolve(stream.rstCode ?? 0)));
    await until(() => mounted.calls.length === 1);
    await stall();
    expect(await reset).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
    await expectAnswers();
  });

  it.each([
    ['a bidirectional call', CHAT, hello],
    ['reflection', REFLECTION, framed(Buffer.from([0x3a, 0]))],
    ['a health watch', '/grpc.health.v1.Health/Watch', framed(Buffer.alloc(0))],
  ])('an answer of %s too', async (_, path, body) => {
    await serve();
    using raw = new RawConnection(listener.address, 3);
    const stream = raw.open(path);
    stream.pause();
    const reset = new Promise<number>((resolve) => stream.once('close', () => resolve(stream.rstCode ?? 0)));
    if (path.includes('Watch')) stream.end(body);
    else stream.write(body);
    await new Promise((resolve) => stream.once('response', resolve));
    await stall();
    expect(mounted.calls).toEqual([expect.stringContaining('RESOURCE_EXHAUSTED')]);
    await clock.advance(1_000);
    expect(await reset).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
  });

  it('answers of more than 8 MiB that a connection does not read end it', async () => {
    await serve({
      say: ({ value }) => {
        handled.push(value);
        return create(StringValueSchema, large(500_000));
      },
    });
    using raw = new RawConnection(listener.address, 3);
    for (let i = 0; i < 100; i++) raw.open(SAY, hello).pause();
    await raw.closed;
    expect(raw.goaways).toContain(NGHTTP2_ENHANCE_YOUR_CALM);
    expect(handled.length).toBeLessThan(30);
    // What is read is not counted.
    using reader = new RawConnection(listener.address);
    for (let i = 0; i < 30; i++) expect((await reader.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('a request that is not sent is answered, and its stream reset', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    for (const begun of [Buffer.alloc(0), hello.subarray(0, 7), hello]) {
      const stream = raw.open(SAY);
      const ended = outcome(stream);
      stream.write(begun);
      await stall();
      await clock.advance(1_000);
      expect((await ended).fields).toMatchObject({ 'grpc-status': '8' });
    }
    expect(handled).toEqual([]);
  });

  it('a stream whose peer says nothing stays open', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    const stream = raw.open(CHAT);
    stream.write(hello);
    await until(() => handled.length === 1);
    await stall();
    await stall();
    stream.end(hello);
    expect((await outcome(stream)).fields).toMatchObject({ 'grpc-status': '0' });
    expect(handled).toHaveLength(2);
  });

  it('in all it is not more than 32 MiB: what is oldest goes, and new calls are answered', async () => {
    await serve();
    using raw = new RawConnection(listener.address);
    const begun = framed(Buffer.alloc(MiB - 16_384), 0, MiB);
    const ended: Promise<unknown>[] = [];
    let failed = 0;
    for (let i = 0; i < 40; i++) {
      const stream = raw.open(SAY);
      ended.push(outcome(stream).then(({ fields }) => expect(fields).toMatchObject({ 'grpc-status': '8' })));
      stream.once('response', () => failed++);
      stream.write(begun);
    }
    await until(() => failed >= 6);
    await expectAnswers();
    expect(failed).toBeLessThan(10);
    await stall();
    await clock.advance(1_000);
    await Promise.all(ended);
  });

  it('counts calls of which nothing has come but the head: of 9,000 the oldest go', async () => {
    await serve();
    using all = new DisposableStack();
    const block = headerBlock(SAY);
    const heads = Array.from({ length: 1_000 }, (_, i) => h2(FRAME.headers, END_HEADERS, 2 * i + 1, block));
    const sockets: RawSocket[] = [];
    for (let i = 0; i < 9; i++) {
      const raw = all.use(new RawSocket(listener.address));
      sockets.push(raw);
      raw.socket.write(Buffer.concat(heads));
      raw.socket.write(h2(FRAME.ping, 0, 0, Buffer.alloc(8)));
      // Once the ping is answered all before it was read.
      await until(() => raw.frames.some(({ type, flags }) => type === FRAME.ping && flags === ACK));
    }
    const answered = (raw?: RawSocket) => raw?.frames.filter(({ type }) => type === FRAME.headers).length ?? 0;
    await until(() => answered(sockets[0]) >= 9_000 - 8_192);
    expect(sockets.slice(1).map(answered)).toEqual(Array(8).fill(0));
    await expectAnswers();
  });
});

describe('connections', () => {
  it('are capped, and those beyond are told of', async () => {
    const refused: Refusal[] = [];
    await serve({}, { connections: { inAll: 2, perPeer: 1 }, onRefused: (refusal) => refused.push(refusal) });
    using raw = new RawConnection(listener.address);
    await raw.call(SAY, hello);
    using beyond = new RawConnection(listener.address);
    await beyond.closed;
    expect(refused).toEqual([{ cap: 'perPeer', connections: 1, peer: '127.0.0.1', refused: 1 }]);
    expect((await raw.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('without a call end after five minutes by GOAWAY, and clients connect anew by themselves', async () => {
    await serve();
    using client = new ForeignClient(listener.address, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
    await client.call('Check', {});
    using raw = new RawConnection(listener.address);
    const open = raw.open(CHAT);
    open.write(hello);
    await until(() => handled.length === 1);
    using idle = new RawConnection(listener.address);
    await idle.call(SAY, hello);
    for (let i = 0; i < 32; i++) {
      await clock.advance(10_000);
      // What was sent arrives: answers to pings, for one.
      for (let j = 0; j < 20; j++) await settle();
    }
    await idle.closed;
    expect(new Set(idle.goaways)).toEqual(new Set([NGHTTP2_NO_ERROR]));
    expect(raw.goaways).toEqual([]);
    await client.call('Check', {});
  });

  it('of peers that do not answer pings end, and others stay', async () => {
    await serve();
    using dead = new RawSocket(listener.address);
    using raw = new RawConnection(listener.address);
    await raw.call(SAY, hello);
    await until(() => dead.has(FRAME.settings));
    await clock.advance(30_000);
    await until(() => dead.has(FRAME.ping));
    for (let j = 0; j < 20; j++) await settle();
    await clock.advance(10_000);
    await dead.closed;
    expect((await raw.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('without a call end even where the peer never says goodbye', async () => {
    await serve();
    using peer = new RawSocket(listener.address, { lingers: true });
    await until(() => peer.has(FRAME.settings));
    for (let i = 0; i < 33; i++) {
      await clock.advance(10_000);
      for (let j = 0; j < 20; j++) await settle();
    }
    expect(peer.has(FRAME.goaway)).toBe(true);
    // The listener's own timer is all that is left.
    await until(() => clock.pending === 1);
  });

  it('that do not greet end', async () => {
    await serve();
    using silent = new RawSocket(listener.address, { silent: true });
    await until(() => silent.frames.length > 0);
    await clock.advance(10_000);
    await silent.closed;
  });
});

describe('a flood', () => {
  /** Writes `frames` again and again until the server ends the connection. */
  async function flood(attack: RawSocket, frames: (i: number) => Buffer, most: number): Promise<number> {
    let open = true;
    let sent = 0;
    attack.closed.then(() => {
      open = false;
    });
    while (open && sent < most) {
      const many = Buffer.concat(Array.from({ length: 500 }, (_, i) => frames(sent + i)));
      sent += 500;
      if (!attack.socket.write(many)) await settle();
      await settle();
    }
    return sent;
  }

  it('of resets ends the connection', async () => {
    await serve();
    using attack = new RawSocket(listener.address);
    const block = headerBlock(SAY);
    const opened = (i: number) =>
      Buffer.concat([h2(FRAME.headers, END_HEADERS, 2 * i + 1, block), h2(FRAME.reset, 0, 2 * i + 1, Buffer.alloc(4))]);
    expect(await flood(attack, opened, 100_000)).toBeLessThan(20_000);
    await expectAnswers();
  });

  it('of CONTINUATION frames ends the connection', async () => {
    await serve();
    using attack = new RawSocket(listener.address);
    attack.socket.write(h2(FRAME.headers, 0, 1, headerBlock(SAY)));
    const field = Buffer.concat([Buffer.from([0, 1]), Buffer.from('x'), Buffer.from([1]), Buffer.from('y')]);
    expect(await flood(attack, () => h2(FRAME.continuation, 0, 1, field), 100_000)).toBeLessThan(20_000);
    await expectAnswers();
  });

  it.each([
    ['SETTINGS', h2(FRAME.settings, 0, 0)],
    ['pings', h2(FRAME.ping, 0, 0, Buffer.alloc(8))],
  ])('of %s that nobody reads the answers of ends the connection', async (_, frame) => {
    await serve();
    using attack = new RawSocket(listener.address);
    attack.socket.pause();
    await flood(attack, () => frame, 2_000_000);
    await attack.closed;
    await expectAnswers();
  });

  it('of empty DATA frames ends the connection', async () => {
    await serve();
    using attack = new RawSocket(listener.address);
    attack.socket.write(h2(FRAME.headers, END_HEADERS, 1, headerBlock(SAY)));
    expect(await flood(attack, () => h2(FRAME.data, 0, 1), 100_000)).toBeLessThan(20_000);
    await expectAnswers();
  });

  it.each([
    ['a unary call', SAY, framed(Buffer.alloc(0), 0, 100_000)],
    ['a unary call that has failed', SAY, Buffer.alloc(0)],
    // The first answer is not read: no more requests are.
    ['a call that is not read', CHAT, Buffer.concat([hello, hello, hello])],
  ])('of DATA of one byte, to %s, ends the connection', async (_, path, first) => {
    await serve();
    using attack = new RawSocket(listener.address);
    const noWindow = Buffer.from([0, 4, 0, 0, 0, 0]);
    attack.socket.write(h2(FRAME.settings, 0, 0, noWindow));
    attack.socket.write(h2(FRAME.headers, END_HEADERS, 1, headerBlock(path)));
    attack.socket.write(h2(FRAME.data, 0, 1, first));
    expect(await flood(attack, () => h2(FRAME.data, 0, 1, Buffer.alloc(1)), 60_000)).toBeLessThan(20_000);
    await expectAnswers();
  });

  it('is none when a long call brings a thousand crumbs in a while', async () => {
    await serve();
    using raw = new RawSocket(listener.address);
    raw.socket.write(h2(FRAME.headers, END_HEADERS, 1, headerBlock(CHAT)));
    const half = [hello.subarray(0, 1), hello.subarray(1)].map((part) => h2(FRAME.data, 0, 1, Buffer.from(part)));
    for (const all of [400, 800, 1_200]) {
      raw.socket.write(Buffer.concat(Array.from({ length: 400 }, () => half).flat()));
      await until(() => handled.length === all);
      await clock.advance(5_000);
    }
    expect(raw.has(FRAME.goaway)).toBe(false);
    expect(raw.socket.readableEnded).toBe(false);
  });

  it('of bidirectional calls is held at 512, and each that ends makes room for another', async () => {
    await serve();
    using one = new RawConnection(listener.address);
    using two = new RawConnection(listener.address);
    using three = new RawConnection(listener.address);
    using four = new RawConnection(listener.address);
    using raw = new RawConnection(listener.address);
    const first = [one, two, three, four].flatMap((each) => Array.from({ length: 128 }, () => each.open(CHAT)));
    const ends = first.map(outcome);
    first[0]?.write(hello);
    await until(() => handled.length === 1);
    expect((await raw.call(CHAT, hello)).fields).toMatchObject({ 'grpc-status': '8' });
    expect((await raw.call(SAY, hello)).fields).toMatchObject({ 'grpc-status': '0' });
    for (const [i, stream] of first.entries())
      if (i % 2 === 0) stream.end();
      else stream.close(constants.NGHTTP2_CANCEL);
    await Promise.all(ends);
    await until(() => mounted.calls.filter((call) => call.startsWith('test.Echo/Chat')).length === 512);
    for (let i = 0; i < 513; i++) expect((await raw.call(CHAT, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('of bidirectional calls is held at 128 for each connection, and others go on', async () => {
    await serve();
    using greedy = new RawConnection(listener.address);
    using raw = new RawConnection(listener.address);
    const open = Array.from({ length: 128 }, () => greedy.open(CHAT));
    open[0]?.write(hello);
    await until(() => handled.length === 1);
    expect((await greedy.call(CHAT, hello)).fields).toMatchObject({ 'grpc-status': '8' });
    expect((await raw.call(CHAT, hello)).fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('of calls is held at 1,000 for each connection', async () => {
    await serve({ say: () => new Promise(() => {}) });
    using attack = new RawSocket(listener.address);
    const block = headerBlock(SAY);
    for (let i = 0; i < 1_100; i++) {
      attack.socket.write(h2(FRAME.headers, END_HEADERS, 2 * i + 1, block));
      attack.socket.write(h2(FRAME.data, ACK, 2 * i + 1, hello));
    }
    await until(
      () => attack.frames.filter(({ type }) => type === FRAME.reset).length >= 100 || attack.socket.destroyed,
    );
    using raw = new RawConnection(listener.address);
    expect((await raw.call('/grpc.health.v1.Health/Check', framed(Buffer.alloc(0)))).fields).toMatchObject({
      'grpc-status': '0',
    });
  });
});
