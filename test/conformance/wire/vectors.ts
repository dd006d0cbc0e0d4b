/**
 * The golden wire vectors, made from the protos: `node test/conformance/wire/vectors.ts` writes vectors.json anew. README.md says how a
 * library's tests use them.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { create, type DescMessage, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { endStreamToJson, errorToJson } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../../src/gen/google/rpc/error_details_pb.js';
import {
  ForceRefreshOutcome,
  ForceRefreshRequestSchema,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  type TokenStateSchema,
  TokenStatus,
  WatchTokenRequestSchema,
  WatchTokenResponseSchema,
} from '../../../src/gen/lingpai/v1/token_pb.js';

/** Where the vectors are kept. */
export const FILE = new URL('vectors.json', import.meta.url);

/** Above 2^63: a signed 64 bit integer and a double both lose it. */
const GENERATION = 2n ** 63n + 7n;
const VALUE = '77_golden-token-value_AbCdEf0123456789';
const OLD_VALUE = '76_golden-token-value_AbCdEf0123456789';
const NOW = { seconds: 1_800_000_000n, nanos: 250_000_000 };
const later = (seconds: number) => ({ seconds: NOW.seconds + BigInt(seconds), nanos: 500_000_000 });
const idOf = (value: string) => createHash('sha256').update(value).digest('hex').slice(0, 12);

const token = (value: string, seconds: number) => ({
  value,
  id: idOf(value),
  issueTime: { seconds: NOW.seconds - 60n },
  expireTime: later(seconds),
});

const state: MessageInitShape<typeof TokenStateSchema> = {
  appId: 'wx1',
  generation: GENERATION,
  current: token(VALUE, 7_000),
  previous: token(OLD_VALUE, 240),
  status: TokenStatus.FRESH,
  nextRefreshTime: later(6_000),
};
/** What a client has of `state`. */
const held = {
  app: 'wx1',
  generation: `${GENERATION}`,
  tokenId: idOf(VALUE),
  lifeMs: 7_000_250,
  previousId: idOf(OLD_VALUE),
  previousLifeMs: 240_250,
  status: 'FRESH',
};
const none = { app: 'wx1', generation: `${GENERATION}`, tokenId: null };

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');

function encoded<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>) {
  const message = create(schema, init);
  return { message: schema.name, binary: base64(toBinary(schema, message)), json: toJson(schema, message) };
}

const request = <Desc extends DescMessage>(name: string, schema: Desc, init: MessageInitShape<Desc>, exact = true) => ({
  name,
  ...encoded(schema, init),
  exact,
});

const answer = <Desc extends DescMessage>(
  name: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
  expect: object,
) => ({
  name,
  ...encoded(schema, init),
  expect,
});

const event = (name: string, init: MessageInitShape<typeof WatchTokenResponseSchema>, expect: object) =>
  answer(name, WatchTokenResponseSchema, { ...init, serverTime: create(TimestampSchema, NOW) } as typeof init, expect);

/** `tail` stands after the message's bytes: fields that no proto of today has. `json` is laid over the message's JSON. */
function strange(name: string, of: ReturnType<typeof event>, tail: number[], json: object, expect = of.expect) {
  const binary = base64(Buffer.concat([Buffer.from(of.binary, 'base64'), Buffer.from(tail)]));
  return { name, message: of.message, binary, json: { ...(of.json as object), ...json }, expect };
}

const fresh = event('state', { event: { case: 'state', value: state } }, { event: 'state', ...held });
/** Field 99 with a varint, field 98 with a string. */
const UNKNOWN_FIELDS = [0x98, 0x06, 0x01, 0x92, 0x06, 0x02, 0x68, 0x69];
const bare = event('', {}, { event: null });

function failure(name: string, code: Code, reason: string, message: string, retryMs: number | undefined, app?: string) {
  const metadata: Record<string, string> = app === undefined ? {} : { app_id: app };
  const details: ConstructorParameters<typeof ConnectError>[3] = [
    { desc: ErrorInfoSchema, value: { domain: 'lingpai', reason, metadata } },
    ...(retryMs === undefined
      ? []
      : [
          {
            desc: RetryInfoSchema,
            value: { retryDelay: { seconds: BigInt(Math.floor(retryMs / 1_000)), nanos: (retryMs % 1_000) * 1e6 } },
          },
        ]),
    ...(code === Code.InvalidArgument
      ? [{ desc: BadRequestSchema, value: { fieldViolations: [{ field: 'app_ids[0]', description: message }] } }]
      : []),
  ];
  const error = new ConnectError(message, code, undefined, details);
  const trailers = new Headers();
  setTrailerStatus(trailers, error);
  const connect = errorToJson(error, undefined);
  // The library adds what it read, for debugging, which servers need not send.
  const strip = (json: typeof connect) =>
    JSON.parse(JSON.stringify(json, (key, value) => (key === 'debug' ? undefined : value)));
  const end = JSON.stringify({
    ...(endStreamToJson(new Headers(), undefined, undefined) as object),
    error: strip(connect),
  });
  return {
    name,
    grpcTrailers: Object.fromEntries(trailers),
    connectError: strip(connect),
    connectEndStream: base64(envelope(2, Buffer.from(end))),
    expect: {
      code: Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
      reason,
      message,
      retryMs: retryMs ?? null,
      app: app ?? null,
    },
  };
}

/** A message in a Connect or gRPC stream: flags, length, bytes. */
function envelope(flags: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const watchOf = (generations: Record<string, bigint>) => ({
  appIds: Object.keys(generations),
  knownGenerations: generations,
});
const tokenOf = (length: number) =>
  event(
    `a value of ${length} characters`,
    {
      event: {
        case: 'state',
        value: { ...state, previous: undefined, current: token('v'.repeat(length), 7_000) } as typeof state,
      },
    },
    { isAccepted: length <= 2_048 },
  );

/** All vectors, as vectors.json holds them. */
export function vectors() {
  const removed = event(
    'removed',
    { event: { case: 'removed', value: { appId: 'wx1' } } },
    { event: 'removed', app: 'wx1' },
  );
  const withStatus = (status: TokenStatus, more: object = {}) =>
    ({ event: { case: 'state', value: { ...state, status, statusReason: 'WeChat answers -1', ...more } } }) as const;
  const empty = { current: undefined, previous: undefined } as object;
  return {
    requests: [
      request('watch, nothing known', WatchTokenRequestSchema, { appIds: ['wx1'] }),
      request('watch, a generation above 2^63', WatchTokenRequestSchema, watchOf({ wx1: GENERATION })),
      request('watch, the greatest generation', WatchTokenRequestSchema, watchOf({ wx1: 2n ** 64n - 1n })),
      request('watch, a generation above 2^53', WatchTokenRequestSchema, watchOf({ wx1: 2n ** 53n + 1n })),
      request('watch, two apps', WatchTokenRequestSchema, watchOf({ wx1: GENERATION, wx2: 1n }), false),
      request('get', GetRequestSchema, { appId: 'wx1' }),
      request('get, at least a generation', GetRequestSchema, { appId: 'wx1', minGeneration: GENERATION }),
      request('report by value', ForceRefreshRequestSchema, {
        appId: 'wx1',
        rejected: { case: 'rejectedToken', value: VALUE },
      }),
      request('report by generation', ForceRefreshRequestSchema, {
        appId: 'wx1',
        rejected: { case: 'rejectedGeneration', value: GENERATION },
      }),
    ],
    messages: [
      fresh,
      event('state, degraded', withStatus(TokenStatus.DEGRADED), {
        event: 'state',
        ...held,
        status: 'DEGRADED',
        statusReason: 'WeChat answers -1',
      }),
      event('state, expired', withStatus(TokenStatus.EXPIRED, empty), {
        event: 'state',
        ...none,
        status: 'EXPIRED',
        statusReason: 'WeChat answers -1',
      }),
      event(
        'state, pending',
        { event: { case: 'state', value: { appId: 'wx1', status: TokenStatus.PENDING } } },
        { event: 'state', ...none, generation: '0', status: 'PENDING' },
      ),
      event(
        'state, no expire_time',
        {
          event: {
            case: 'state',
            value: {
              appId: 'wx1',
              generation: 1n,
              status: TokenStatus.FRESH,
              current: { value: VALUE, id: idOf(VALUE) },
            },
          },
        },
        { event: 'state', app: 'wx1', generation: '1', tokenId: idOf(VALUE), lifeMs: null, status: 'FRESH' },
      ),
      event('heartbeat', { event: { case: 'heartbeat', value: { asOf: NOW } } }, { event: 'heartbeat' }),
      removed,
      event(
        'goaway',
        { event: { case: 'goaway', value: { reconnectAfter: { seconds: 3n, nanos: 250_000_000 } } } },
        { event: 'goaway', reconnectAfterMs: 3_250 },
      ),
      event('goaway, no time', { event: { case: 'goaway', value: {} } }, { event: 'goaway', reconnectAfterMs: 0 }),
      strange('state with unknown fields', fresh, UNKNOWN_FIELDS, { notYetInvented: { a: [1, 'hi'] } }),
      strange('removed with unknown fields', removed, UNKNOWN_FIELDS, { notYetInvented: 1 }),
      // Field 30, a message of two bytes.
      strange('an unknown event', bare, [0xf2, 0x01, 0x02, 0x08, 0x01], { notYetInvented: { appId: 'wx1' } }),
      event('an empty event', {}, { event: null }),
      {
        ...event('state with an unknown status', withStatus(99 as TokenStatus), {
          event: 'state',
          ...held,
          status: 'UNKNOWN',
          statusReason: 'WeChat answers -1',
        }),
      },
      answer('answer of get', GetResponseSchema, { state, serverTime: NOW }, held),
      ...[
        ForceRefreshOutcome.REFRESHED,
        ForceRefreshOutcome.JOINED,
        ForceRefreshOutcome.ALREADY_NEWER,
        ForceRefreshOutcome.STILL_VALID,
      ].map((outcome) =>
        answer(
          `answer of a report: ${ForceRefreshOutcome[outcome]}`,
          ForceRefreshResponseSchema,
          { state, outcome, serverTime: NOW },
          { outcome: ForceRefreshOutcome[outcome], ...held },
        ),
      ),
      answer(
        'answer of a report: an unknown outcome',
        ForceRefreshResponseSchema,
        { state, outcome: 99 as ForceRefreshOutcome, serverTime: NOW },
        { outcome: 'UNKNOWN', ...held },
      ),
    ],
    errors: [
      failure('unknown app', Code.NotFound, 'APP_NOT_FOUND', 'no app "wx9" is configured', undefined, 'wx9'),
      failure('cooldown', Code.ResourceExhausted, 'COOLDOWN', 'the last refresh was 3 s ago', 57_500, 'wx1'),
      failure(
        'too many watchers',
        Code.ResourceExhausted,
        'TOO_MANY_WATCHERS',
        'the broker holds 10000 watches',
        5_000,
      ),
      failure('draining', Code.Unavailable, 'DRAINING', 'the broker is shutting down', 1_000),
      failure('bad key', Code.Unauthenticated, 'CREDENTIALS_INVALID', 'the key is not known', undefined),
      failure(
        'expired credentials',
        Code.Unauthenticated,
        'CREDENTIALS_EXPIRED',
        'the credential has expired',
        undefined,
      ),
      failure('not allowed', Code.PermissionDenied, 'PERMISSION_DENIED', 'the caller may not report', undefined, 'wx1'),
      failure('invalid request', Code.InvalidArgument, 'INVALID_REQUEST', 'app_ids[0]: write an app id', undefined),
      failure('words beyond ASCII', Code.Unavailable, 'UPSTREAM_ERROR', '令牌: 50% of "wx1" / 系统繁忙', 100, 'wx1'),
    ],
    envelopes: [
      {
        name: 'a message',
        bytes: base64(envelope(0, Buffer.from(fresh.binary, 'base64'))),
        expect: { flags: 0, length: Buffer.from(fresh.binary, 'base64').length },
      },
      { name: 'an empty message', bytes: base64(envelope(0, Buffer.alloc(0))), expect: { flags: 0, length: 0 } },
      {
        name: "Connect's end of a stream, clean",
        bytes: base64(envelope(2, Buffer.from('{}'))),
        expect: { flags: 2, length: 2 },
      },
    ],
    limits: {
      // Only the five bytes before such a message: what follows need not be read where it is refused.
      envelopes: [4_194_304, 4_194_305, 0xffff_ffff].map((length) => {
        const head = Buffer.alloc(5);
        head.writeUInt32BE(length, 1);
        return { head: base64(head), length, isAccepted: length <= 4_194_304 };
      }),
      values: [tokenOf(2_048), tokenOf(2_049)],
    },
  };
}

/** As the file holds it. */
export const text = () => `${JSON.stringify(vectors(), null, 2)}\n`;

if (import.meta.main) writeFileSync(FILE, text());
