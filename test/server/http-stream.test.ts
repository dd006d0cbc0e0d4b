import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { HandlerContext } from '@connectrpc/connect';
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

describe('what a stream is on the wire', () => {
  const golden = JSON.parse(readFileSync(GOLDEN, 'utf8')) as Record<string, unknown>;
  const recorded: Record<string, unknown> = {};
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
      recorded[`${name}, ${type}`] = seen;
      if (process.env['RECORD']) writeFileSync(GOLDEN, JSON.stringify(recorded, null, 2));
      else expect(seen).toEqual(golden[`${name}, ${type}`]);
    },
  );
});
