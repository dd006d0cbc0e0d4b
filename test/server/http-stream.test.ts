import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { create, fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { drainingError, LingpaiError } from '../../src/core/kernel/errors.ts';
import {
  TokenService,
  TokenStatus,
  type WatchTokenRequest,
  WatchTokenRequestSchema,
  type WatchTokenResponse,
  WatchTokenResponseSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import { type StreamControl, streamControlOf } from '../../src/transport/call.ts';
import type { Feed, Service } from '../../src/transport/service.ts';
import { FakeClock } from '../support/clock.ts';
import { HTTP, Mounted, until } from '../support/rpc.ts';

const GOLDEN = join(import.meta.dirname, 'http-streams.golden.json');
const TYPES = ['connect+json', 'connect+proto', 'grpc-web+proto', 'grpc-web+json'] as const;
type Type = (typeof TYPES)[number];

/** What a handler hands out, a message at a time and then an end. */
class Script implements Feed<WatchTokenResponse> {
  readonly #messages: WatchTokenResponse[] = [];
  #end: { readonly error?: unknown } | undefined;
  #reader: { wake(): void } | undefined;

  constructor(messages: readonly WatchTokenResponse[], end?: { readonly error?: unknown }) {
    this.#messages.push(...messages);
    this.#end = end;
  }

  tell(...messages: WatchTokenResponse[]): void {
    this.#messages.push(...messages);
    this.#reader?.wake();
  }

  fail(error: unknown): void {
    this.#end = { error };
    this.#reader?.wake();
  }

  onNews(reader: { wake(): void }): void {
    this.#reader = reader;
  }

  take(): WatchTokenResponse | undefined {
    const message = this.#messages.shift();
    if (!message && this.#end) throw this.#end.error;
    return message;
  }

  taken(): void {}

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const message = this.take();
      if (message) yield message;
      else
        await new Promise<void>((wake) => {
          this.#reader = { wake };
        });
    }
  }
}

const state = create(WatchTokenResponseSchema, {
  event: {
    case: 'state',
    value: {
      appId: 'wxc',
      generation: 1_800_000_000_123n,
      current: {
        value: 'current-token-value',
        id: '0123456789ab',
        issueTime: timestampFromMs(1_800_000_000_000),
        expireTime: timestampFromMs(1_800_007_200_000),
      },
      previous: { value: 'previous-token-value', id: 'ba9876543210', expireTime: timestampFromMs(1_800_000_300_000) },
      status: TokenStatus.DEGRADED,
      statusReason: '微信说 -1: "busy"',
    },
  },
  serverTime: timestampFromMs(1_800_000_000_456),
});
const heartbeat = create(WatchTokenResponseSchema, {
  event: { case: 'heartbeat', value: { asOf: timestampFromMs(1_800_000_001_000) } },
});

let clock: FakeClock;
let mounted: Mounted;
let listener: Listener;
/** Hands out what a test is about. */
let handler: (request: WatchTokenRequest, context: HandlerContext) => AsyncIterable<object>;
const clients: Socket[] = [];

beforeEach(async () => {
  clock = new FakeClock();
  const impl = { watchToken: (request: WatchTokenRequest, context: HandlerContext) => handler(request, context) };
  mounted = new Mounted(clock, { desc: TokenService, impl } as unknown as Service);
  listener = await startHttp({ ...HTTP, ...mounted });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await listener.stop();
  expect(mounted.faults).toEqual([]);
});

function envelope(bytes: Uint8Array | string, flags = 0): Buffer {
  const data = Buffer.from(bytes);
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(data.length, 1);
  return Buffer.concat([head, data]);
}

function requestBody(type: Type): Buffer {
  const request = create(WatchTokenRequestSchema, { appIds: ['wxc'] });
  return envelope(
    type.endsWith('json') ? toJsonString(WatchTokenRequestSchema, request) : toBinary(WatchTokenRequestSchema, request),
  );
}

/** A watch, and what has come of it: the head's lines in order, and the bytes of each chunk. */
function watch(type: string, { body = requestBody(type as Type), headers = '' as string } = {}) {
  const [host = '', port = ''] = listener.address.split(':');
  const socket = connect(Number(port), host);
  clients.push(socket);
  let bytes: Buffer = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    bytes = Buffer.concat([bytes, data]);
  });
  socket.write(
    `POST /lingpai.v1.TokenService/WatchToken HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/${type}\r\n` +
      `Content-Length: ${body.length}\r\n${headers}\r\n`,
  );
  socket.write(body);
  const read = () => {
    const end = bytes.indexOf('\r\n\r\n');
    const chunks: Buffer[] = [];
    let isOver = false;
    for (let at = end + 4; end >= 0 && at < bytes.length; ) {
      const line = bytes.indexOf('\r\n', at);
      const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
      isOver = size === 0;
      if (size > 0) chunks.push(bytes.subarray(line + 2, line + 2 + size));
      at = line + 2 + size + 2;
    }
    const head = bytes.toString('latin1', 0, Math.max(0, end)).split('\r\n');
    return { status: head[0] ?? '', head: head.slice(1).sort(), chunks, isOver };
  };
  const over = async () => {
    await until(() => read().isOver);
    return read();
  };
  return { socket, read, over, closed: new Promise((resolve) => socket.once('close', resolve)) };
}

/** What connect-node wrote for these before streams were written by us. */
describe('what a stream is on the wire', () => {
  const golden = JSON.parse(readFileSync(GOLDEN, 'utf8')) as Record<string, unknown>;
  const streams: Record<string, (context: HandlerContext) => AsyncIterable<object>> = {
    'messages and an error': () => new Script([state, heartbeat], { error: drainingError() }),
    'an error alone': () => {
      throw new LingpaiError('no app "wxc", 100% sure: 没有', { reason: 'APP_NOT_FOUND', appId: 'wxc' });
    },
    'messages, headers and trailers of a handler that ends': (context) => {
      context.responseHeader.set('x-head', 'first');
      return (async function* () {
        yield heartbeat;
        context.responseTrailer.set('x-trailer', 'last');
        yield { event: { case: 'removed', value: { appId: 'wxc' } } };
      })();
    },
  };

  it.each(Object.keys(streams).flatMap((name) => TYPES.map((type) => [name, type] as const)))(
    'is as it always was: %s, %s',
    async (name, type) => {
      handler = (_, context) => (streams[name] as (context: HandlerContext) => AsyncIterable<object>)(context);
      const { status, head, chunks } = await watch(type).over();
      const lines = head.filter((line) => !line.startsWith('Date: '));
      const text = (chunk: Buffer) =>
        type.endsWith('json') || (chunk[0] ?? 0) > 1
          ? `${chunk.toString('hex', 0, 5)} ${chunk.toString('utf8', 5)}`
          : chunk.toString('hex');
      const seen = { status, head: lines, chunks: chunks.map(text) };
      expect(seen).toEqual(golden[`${name}, ${type}`]);
    },
  );
});

/** What the last chunk says: the code of the error, by name or by number, and its words. */
function endOf({ chunks }: { chunks: readonly Buffer[] }): string {
  const last = chunks.at(-1) ?? Buffer.alloc(0);
  const text = decodeURIComponent(last.toString('utf8', 5));
  return last[0] === 2 || last[0] === 128 ? text : `not an end: ${text}`;
}

describe('an error whose words have half a surrogate pair', () => {
  it.each(TYPES)('is told with what stands for it: %s', async (type) => {
    const half = type.endsWith('json') ? envelope('{"appIds":"\\ud800"}') : requestBody(type);
    handler = () => {
      throw new ConnectError('WeChat said \ud800', Code.InvalidArgument);
    };
    const end = endOf(await watch(type, { body: half }).over());
    expect(end).toMatch(/invalid_argument|grpc-status: 3/);
    expect(end).toContain('\ufffd');
  });

  it('is told by what is no stream too', async () => {
    const response = await fetch(`http://${listener.address}/lingpai.v1.TokenService/Get`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+json' },
      body: envelope('{"appId":["\\ud800"]}'),
    });
    expect(await response.text()).toContain('grpc-status: 3');
  });
});

describe('a stream whose end cannot be written', () => {
  it('is cut, and the fault is told', async () => {
    handler = (_, context) => {
      Object.defineProperty(context, 'trailersSet', { get: () => ({ broken: true }) });
      return new Script([], { error: drainingError() });
    };
    await watch('grpc-web+proto').closed;
    expect(mounted.faults.splice(0)).toEqual([expect.any(Error)]);
  });
});

describe('a message for many', () => {
  it('is encoded once for each codec, however many streams and protocols there are', async () => {
    let reads = 0;
    const counted = () => {
      const message = create(WatchTokenResponseSchema, { event: state.event });
      const get = () => {
        reads++;
        return state.serverTime;
      };
      return Object.freeze(Object.defineProperty(message, 'serverTime', { get, enumerable: true }));
    };
    toBinary(WatchTokenResponseSchema, counted());
    toJsonString(WatchTokenResponseSchema, counted());
    const once = reads;
    reads = 0;
    const feeds: Script[] = [];
    handler = () => {
      const feed = new Script([]);
      feeds.push(feed);
      return feed;
    };
    const watches = [...TYPES, ...TYPES, ...TYPES].map((type) => ({ type, stream: watch(type) }));
    await until(() => feeds.length === watches.length);
    const message = counted();
    for (const feed of feeds) feed.tell(message);
    await until(() => watches.every(({ stream }) => stream.read().chunks.length === 1));
    expect(reads).toBe(once);
    for (const { type, stream } of watches) {
      const [chunk = Buffer.alloc(0)] = stream.read().chunks;
      const told = type.endsWith('json')
        ? fromJsonString(WatchTokenResponseSchema, chunk.toString('utf8', 5))
        : fromBinary(WatchTokenResponseSchema, chunk.subarray(5));
      expect(told).toEqual(state);
    }
  });
});

describe('a stream that is not read', () => {
  const LARGE = 512 * 1024;

  it('is asked for nothing more, and ends without its status when it is ended', async () => {
    let taken = 0;
    let released = 0;
    let control: StreamControl | undefined;
    let fountain: Script | undefined;
    const large = Object.freeze(
      create(WatchTokenResponseSchema, { event: { case: 'state', value: { statusReason: 'x'.repeat(LARGE) } } }),
    );
    class Fountain extends Script {
      override take() {
        taken++;
        return large;
      }
    }
    handler = (_, context) => {
      control = streamControlOf(context);
      control.onClose(() => {
        released++;
      });
      fountain = new Fountain([]);
      return fountain;
    };
    const { socket, read, closed } = watch('connect+json');
    socket.pause();
    for (let before = -1, still = 0; still < 50; still = taken === before ? still + 1 : 0) {
      before = taken;
      await new Promise(setImmediate);
    }
    const held = taken;
    fountain?.tell(large);
    expect(taken).toBe(held);
    control?.end(new LingpaiError('not read', { reason: 'WATCHER_STALLED' }));
    expect(released).toBe(1);
    socket.resume();
    await closed;
    expect([taken, read().isOver]).toEqual([held, false]);
    expect(mounted.calls).toEqual(['TokenService/WatchToken RESOURCE_EXHAUSTED']);
  });

  it('behind another of its connection has that one reset when it is ended: else its bytes would stay', async () => {
    const controls: StreamControl[] = [];
    handler = (_, context) => {
      controls.push(streamControlOf(context));
      return new Script([heartbeat]);
    };
    const first = watch('connect+json');
    await until(() => first.read().chunks.length === 1);
    const body = requestBody('connect+json');
    first.socket.write(
      `POST /lingpai.v1.TokenService/WatchToken HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n`,
    );
    first.socket.write(body);
    await until(() => controls.length === 2);
    controls[1]?.end(new LingpaiError('not read', { reason: 'WATCHER_STALLED' }));
    await first.closed;
    await until(() => mounted.calls.length === 2);
  });

  it('has its status when nothing is on its way as it is ended, and keeps its connection', async () => {
    let control: StreamControl | undefined;
    handler = (_, context) => {
      control = streamControlOf(context);
      return new Script([heartbeat]);
    };
    const stream = watch('connect+json');
    await until(() => stream.read().chunks.length === 1);
    await new Promise(setImmediate);
    control?.end(new LingpaiError('it may no more', { reason: 'ACCESS_DENIED' }));
    expect(endOf(await stream.over())).toContain('"code":"permission_denied","message":"it may no more"');
    expect(mounted.calls).toEqual(['TokenService/WatchToken PERMISSION_DENIED']);
    let text = '';
    stream.socket.on('data', (data) => {
      text += data;
    });
    stream.socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => text.includes('200 OK'));
  });
});

describe("a caller's deadline", () => {
  it.each([
    ['connect+json', 'Connect-Timeout-Ms: 5000', '"code":"deadline_exceeded"'],
    ['connect+proto', 'Connect-Timeout-Ms: 5000', '"code":"deadline_exceeded"'],
    ['grpc-web+proto', 'Grpc-Timeout: 5S', 'grpc-status: 4'],
  ])('ends a stream of %s with %s', async (type, header, status) => {
    const contexts: HandlerContext[] = [];
    handler = (_, context) => {
      contexts.push(context);
      return new Script([heartbeat]);
    };
    const stream = watch(type, { headers: `${header}\r\n` });
    await until(() => stream.read().chunks.length === 1);
    expect(contexts[0]?.timeoutMs()).toBe(5_000);
    await clock.advance(4_999);
    expect([stream.read().isOver, contexts[0]?.signal.aborted]).toEqual([false, false]);
    await clock.advance(1);
    const end = endOf(await stream.over());
    expect(end).toContain(status);
    expect(end).toContain("the call's deadline has passed");
    expect(contexts[0]?.signal.aborted).toBe(true);
    expect(mounted.calls).toEqual(['TokenService/WatchToken DEADLINE_EXCEEDED']);
  });

  it.each([
    ['connect+json', 'Connect-Timeout-Ms: soon', '"code":"invalid_argument"'],
    ['grpc-web+proto', 'Grpc-Timeout: 5', 'grpc-status: 3'],
  ])('that cannot be read is an error: %s with %s', async (type, header, status) => {
    handler = () => new Script([]);
    expect(endOf(await watch(type, { headers: `${header}\r\n` }).over())).toContain(status);
  });

  it.each([
    ['connect+json', 'Connect-Timeout-Ms: 9999999999'],
    ['grpc-web+proto', 'Grpc-Timeout: 99999999H'],
  ])('may be further away than a timer can wait: %s with %s', async (type, header) => {
    let context: HandlerContext | undefined;
    handler = (_, called) => {
      context = called;
      return new Script([heartbeat]);
    };
    const stream = watch(type, { headers: `${header}\r\n` });
    await until(() => stream.read().chunks.length === 1);
    expect(context?.timeoutMs()).toBe(2 ** 31 - 1);
  });
});

describe('a caller that goes away', () => {
  it('ends its stream at once, and its handler is told', async () => {
    const told: string[] = [];
    handler = (_, context) => {
      context.signal.addEventListener('abort', () => told.push('aborted'));
      streamControlOf(context).onClose(() => told.push('released'));
      return new Script([heartbeat]);
    };
    const stream = watch('connect+json', { headers: 'Connect-Timeout-Ms: 5000\r\n' });
    await until(() => stream.read().chunks.length === 1);
    stream.socket.destroy();
    await until(() => told.length === 2);
    expect(mounted.calls).toEqual(['TokenService/WatchToken CANCELLED']);
    // Its deadline waits no more, nor does its connection.
    expect(clock.pending).toBe(0);
  });

  it('has a handler that cannot be woken return', async () => {
    let isBack = false;
    handler = async function* () {
      try {
        for (;;) yield heartbeat;
      } finally {
        isBack = true;
      }
    };
    const stream = watch('grpc-web+proto');
    await until(() => stream.read().chunks.length > 1);
    stream.socket.destroy();
    await until(() => isBack);
  });
});

describe('a request', () => {
  const whole = requestBody('connect+json');

  it.each([
    ['nothing', Buffer.alloc(0), 'unimplemented', 'takes exactly one request message'],
    ['two messages', Buffer.concat([whole, whole]), 'unimplemented', 'takes exactly one request message'],
    ['half a message', whole.subarray(0, -1), 'invalid_argument', 'in the middle of a message'],
    ['half a head', whole.subarray(0, 3), 'invalid_argument', 'in the middle of a message'],
    ['an end of stream', envelope('{}', 2), 'invalid_argument', 'does not know'],
    ['what says that it is compressed', envelope('{}', 1), 'internal', 'compressed'],
    ['no JSON', envelope('{"appIds":'), 'invalid_argument', 'JSON'],
    ['another type', envelope('{"appIds":7}'), 'invalid_argument', 'app_ids'],
    ['no UTF-8', envelope(Buffer.from([0x22, 0xff, 0x22])), 'invalid_argument', 'not UTF-8 at byte 2'],
    ['more than 1 MiB', envelope('x'.repeat(1024 * 1024 + 1)), 'resource_exhausted', 'larger than 1048576 bytes'],
  ])('of %s is refused', async (_, body, code, words) => {
    handler = () => new Script([heartbeat]);
    const end = endOf(await watch('connect+json', { body }).over());
    expect(end).toContain(`"code":"${code}"`);
    expect(end).toContain(words);
    expect(mounted.calls).toEqual([`TokenService/WatchToken ${code.toUpperCase()}`]);
  });

  it('may have fields that are not known here, and is handed over whole', async () => {
    const requests: WatchTokenRequest[] = [];
    handler = (request) => {
      requests.push(request);
      return new Script([heartbeat]);
    };
    const stream = watch('connect+json', { body: envelope('{"appIds":["wxc"],"of":"tomorrow"}') });
    await until(() => stream.read().chunks.length === 1);
    expect(requests).toMatchObject([{ appIds: ['wxc'] }]);
  });

  it('for gRPC-Web in base64 is told what is taken', async () => {
    const { socket } = watch('grpc-web-text+proto');
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    await until(() => text.includes('application/connect+json'));
    expect(text).toMatch(/^HTTP\/1\.1 415 /);
  });

  it('has all that a handler may ask of its call', async () => {
    const seen: unknown[] = [];
    handler = (_, context) => {
      const { method, service, requestMethod, protocolName, url, requestHeader } = context;
      seen.push([method.name, service.name, requestMethod, protocolName, url, requestHeader.get('x-of')]);
      return new Script([heartbeat]);
    };
    const streams = ['connect+json', 'grpc-web+proto'].map((type) => watch(type, { headers: 'X-Of: caller\r\n' }));
    await until(() => streams.every((stream) => stream.read().chunks.length === 1));
    const url = 'http://localhost/lingpai.v1.TokenService/WatchToken';
    expect(seen).toEqual(
      expect.arrayContaining(
        ['connect', 'grpc-web'].map((name) => ['WatchToken', 'TokenService', 'POST', name, url, 'caller']),
      ),
    );
  });
});
