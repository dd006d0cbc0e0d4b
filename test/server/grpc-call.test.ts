import { create, toBinary } from '@bufbuild/protobuf';
import { type StringValue, StringValueSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient, type HandlerContext } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import { streamControlOf } from '../../src/transport/call.ts';
import type { Service } from '../../src/transport/service.ts';
import { FakeClock } from '../support/clock.ts';
import { echo } from '../support/echo.ts';
import { grpcOf, Mounted, until } from '../support/rpc.ts';

interface Impl {
  say?(request: StringValue, context: HandlerContext): unknown;
  chat?(requests: AsyncIterable<StringValue>, context: HandlerContext): AsyncIterable<unknown>;
}

interface EchoClient {
  say(request: object, options?: object): Promise<StringValue>;
  chat(requests: AsyncIterable<object>, options?: object): AsyncIterable<StringValue>;
}

const unused = async () => ({});
let listener: Listener;
let mounted: Mounted;

async function serve(impl: Impl): Promise<EchoClient> {
  const service = { desc: echo(), impl: { say: unused, chat: unused, ...impl } } as unknown as Service;
  mounted = new Mounted(new FakeClock(), service);
  listener = await startGrpc(grpcOf(mounted));
  const transport = createGrpcTransport({ baseUrl: `http://${listener.address}` });
  return createClient(service.desc, transport) as unknown as EchoClient;
}

afterEach(() => listener?.stop());

/** A client that resets its stream when it cancels. */
class GrpcClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure());
  }

  chat() {
    const asIs = (bytes: Buffer) => bytes;
    const call = this.#client.makeBidiStreamRequest('/test.Echo/Chat', asIs, asIs);
    return call.on('error', () => {});
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** What one side writes, one at a time. */
class Line implements AsyncIterable<object> {
  #queue: (object | undefined)[] = [];
  #wake: () => void = () => {};
  taken = 0;

  say(value: string): void {
    this.#queue.push({ value });
    this.#wake();
  }

  hangUp(): void {
    this.#queue.push(undefined);
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#queue.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      const next = this.#queue.shift();
      if (!next) return;
      this.taken++;
      yield next;
    }
  }
}

describe('a bidirectional call', () => {
  it('answers each message as it comes, and ends when the client has', async () => {
    const client = await serve({
      async *chat(requests) {
        for await (const { value } of requests) yield { value: value.toUpperCase() };
        yield { value: 'bye' };
      },
    });
    const line = new Line();
    const answers = client.chat(line)[Symbol.asyncIterator]();
    line.say('a');
    expect((await answers.next()).value.value).toBe('A');
    line.say('b');
    expect((await answers.next()).value.value).toBe('B');
    line.hangUp();
    expect((await answers.next()).value.value).toBe('bye');
    expect((await answers.next()).done).toBe(true);
    await until(() => mounted.calls.length > 0);
    expect(mounted.calls).toEqual(['test.Echo/Chat OK']);
  });

  it('reads no further than its handler asks', async () => {
    let read = 0;
    let more: () => void = () => {};
    const client = await serve({
      async *chat(requests) {
        for await (const _ of requests) {
          read++;
          await new Promise<void>((resolve) => (more = resolve));
        }
        yield { value: String(read) };
      },
    });
    const line = new Line();
    const answers = client.chat(line)[Symbol.asyncIterator]();
    // More than windows and socket buffers hold.
    for (let i = 0; i < 100; i++) line.say('x'.repeat(500_000));
    line.hangUp();
    const answer = answers.next();
    await until(() => read === 1);
    for (let i = 0; i < 100; i++) await new Promise(setImmediate);
    expect(read).toBe(1);
    expect(line.taken).toBeLessThan(100);
    for (let i = 2; i <= 100; i++) {
      more();
      await until(() => read === i);
    }
    more();
    expect((await answer).value.value).toBe('100');
  });

  it('ends with the error that its handler throws', async () => {
    const client = await serve({
      async *chat(requests) {
        for await (const { value } of requests) {
          if (value === 'b') throw new ConnectError('enough', Code.Aborted);
          yield { value };
        }
      },
    });
    const line = new Line();
    const answers = client.chat(line)[Symbol.asyncIterator]();
    line.say('a');
    await answers.next();
    line.say('b');
    await expect(answers.next()).rejects.toMatchObject({ code: Code.Aborted, rawMessage: 'enough' });
  });

  it('tells a handler that reads that the caller left', async () => {
    const ended: string[] = [];
    await serve({
      async *chat(requests, context) {
        context.signal.addEventListener('abort', () => ended.push('signal'));
        try {
          for await (const { value } of requests) ended.push(value);
          yield {};
        } finally {
          ended.push('finally');
        }
      },
    });
    using client = new GrpcClient(listener.address);
    const call = client.chat();
    call.write(Buffer.from(toBinary(StringValueSchema, create(StringValueSchema, { value: 'a' }))));
    await until(() => ended.length === 1);
    call.cancel();
    await until(() => ended.length === 3);
    expect(ended.sort()).toEqual(['a', 'finally', 'signal']);
    expect(mounted.calls).toEqual(['test.Echo/Chat CANCELLED']);
    expect(mounted.faults).toEqual([]);
  });
});

describe('a handler', () => {
  it('that waits for something of its own is told by onClose that its call is over, once', async () => {
    const told: string[] = [];
    await serve({
      async *chat(_, context) {
        streamControlOf(context).onClose(() => told.push('closed'));
        await new Promise(() => told.push('waiting'));
        yield {};
      },
    });
    using client = new GrpcClient(listener.address);
    const call = client.chat();
    await until(() => told.includes('waiting'));
    call.cancel();
    await until(() => mounted.calls.length > 0);
    expect(told).toEqual(['waiting', 'closed']);
  });

  it('reads request headers and sets response headers and trailers', async () => {
    const client = await serve({
      say(request, context) {
        context.responseHeader.set('x-head', context.requestHeader.get('x-ask') ?? '');
        context.responseTrailer.set('x-trail-bin', context.requestHeader.get('x-ask-bin') ?? '');
        return create(StringValueSchema, { value: request.value });
      },
    });
    let head: string | null = null;
    let trail: string | null = null;
    const answer = await client.say(
      { value: 'hello' },
      {
        headers: { 'x-ask': 'question', 'x-ask-bin': 'AQID' },
        onHeader: (headers: Headers) => {
          head = headers.get('x-head');
        },
        onTrailer: (trailers: Headers) => {
          trail = trailers.get('x-trail-bin');
        },
      },
    );
    expect([answer.value, head, trail]).toEqual(['hello', 'question', 'AQID']);
  });

  it('is asked for what it is: its method, its time left, its url', async () => {
    let seen: unknown[] = [];
    const client = await serve({
      async say(_, context) {
        const { method, service, requestMethod, protocolName, url } = context;
        seen = [method.name, service.typeName, requestMethod, protocolName, url, context.timeoutMs() ?? 0];
        return { value: '' };
      },
    });
    await client.say({ value: '' }, { timeoutMs: 60_000 });
    const left = seen.pop() as number;
    expect(seen).toEqual(['Say', 'test.Echo', 'POST', 'grpc', `http://${listener.address}/test.Echo/Say`]);
    expect(left).toBeGreaterThan(30_000);
    expect(left).toBeLessThanOrEqual(60_000);
  });

  it('may fail with half a surrogate pair in its words', async () => {
    const client = await serve({
      say: () => {
        throw new ConnectError('50\ud83d%', Code.Unavailable);
      },
    });
    await expect(client.say({ value: '' })).rejects.toMatchObject({ code: Code.Unavailable, rawMessage: '50\ufffd%' });
  });

  it('that answers with what is no message of its method fails, and the log learns why', async () => {
    const unreadable = {
      get value() {
        throw new Error('none');
      },
    };
    const client = await serve({ say: () => unreadable });
    await expect(client.say({ value: '' })).rejects.toMatchObject({ code: Code.Internal });
    expect(mounted.faults).toHaveLength(1);
  });
});

describe('a client-streaming method', () => {
  it('is refused at the start', async () => {
    const service = { desc: echo(true), impl: { say: unused, chat: unused, gather: unused } } as unknown as Service;
    await expect(startGrpc(grpcOf(new Mounted(new FakeClock(), service)))).rejects.toThrow(
      'test.Echo/Gather is client-streaming',
    );
  });
});
