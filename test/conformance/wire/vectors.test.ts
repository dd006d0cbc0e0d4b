import { readFileSync } from 'node:fs';
import { fromBinary, fromJson, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { endStreamFromJson, errorFromJson } from '@connectrpc/connect/protocol-connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { expect, it } from 'vitest';
import { ErrorInfoSchema, RetryInfoSchema } from '../../../src/gen/google/rpc/error_details_pb.js';
import {
  ForceRefreshRequestSchema,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  WatchTokenRequestSchema,
  WatchTokenResponseSchema,
} from '../../../src/gen/lingpai/v1/token_pb.js';
import { lifeMs } from '../reference/rules.ts';
import { FILE, text, type vectors } from './vectors.ts';

const kept: ReturnType<typeof vectors> = JSON.parse(readFileSync(FILE, 'utf8'));
const schemas = Object.fromEntries(
  [
    GetRequestSchema,
    ForceRefreshRequestSchema,
    WatchTokenRequestSchema,
    GetResponseSchema,
    ForceRefreshResponseSchema,
    WatchTokenResponseSchema,
  ].map((schema) => [schema.name, schema]),
);

it('keeps the vectors that the protos make', () => {
  expect(readFileSync(FILE, 'utf8')).toBe(text());
});

it.each(kept.requests)('says the same in bytes and JSON: $name', ({ message, binary, json }) => {
  const schema = schemas[message];
  if (schema === undefined) throw new Error(message);
  const bytes = Buffer.from(binary, 'base64');
  expect(fromBinary(schema, bytes)).toEqual(fromJson(schema, json));
  expect(Buffer.from(toBinary(schema, fromJson(schema, json)))).toEqual(bytes);
});

it.each(kept.messages)('is read as it says, from bytes and JSON: $name', ({ message, binary, json, expect: said }) => {
  const schema = schemas[message];
  if (schema === undefined) throw new Error(message);
  const messages = [
    fromBinary(schema, Buffer.from(binary, 'base64')),
    fromJson(schema, json, { ignoreUnknownFields: true }),
  ];
  for (const read of messages) {
    if (read.$typeName === 'lingpai.v1.WatchTokenResponse') {
      const { event, serverTime } = read as ReturnType<typeof fromBinary<typeof WatchTokenResponseSchema>>;
      expect(event.case ?? null).toBe((said as { event: string | null }).event);
      if (event.case !== 'state') continue;
      const { current, generation, appId } = event.value;
      const life = current === undefined ? undefined : lifeMs(current, serverTime);
      expect({
        app: appId,
        generation: `${generation}`,
        tokenId: current?.id ?? null,
        ...(life !== undefined && { lifeMs: life === Number.POSITIVE_INFINITY ? null : life }),
      }).toEqual(
        Object.fromEntries(
          Object.entries(said).filter(([key]) => ['app', 'generation', 'tokenId', 'lifeMs'].includes(key)),
        ),
      );
    }
  }
});

it.each(kept.errors)(
  'tells the same error by gRPC and by Connect: $name',
  ({ grpcTrailers, connectError, connectEndStream, expect: said }) => {
    const end = Buffer.from(connectEndStream, 'base64');
    expect([end[0], end.readUInt32BE(1)]).toEqual([2, end.length - 5]);
    const errors = [
      endStreamFromJson(end.subarray(5)).error,
      findTrailerError(new Headers(grpcTrailers)),
      errorFromJson(connectError, undefined, new ConnectError('', Code.Unknown)),
    ];
    for (const error of errors) {
      const info = error?.findDetails(ErrorInfoSchema)[0];
      const delay = error?.findDetails(RetryInfoSchema)[0]?.retryDelay;
      expect({
        code: Code[error?.code ?? 0]?.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
        reason: info?.reason,
        message: error?.rawMessage,
        retryMs: delay === undefined ? null : Number(delay.seconds) * 1_000 + delay.nanos / 1e6,
        app: info?.metadata['app_id'] ?? null,
      }).toEqual(said);
    }
  },
);
