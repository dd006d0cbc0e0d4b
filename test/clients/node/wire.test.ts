import { readFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { fromBinary, fromJson, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { afterEach, expect, it, vi } from 'vitest';
import { Connection, msOf } from '../../../clients/node/src/connection.ts';
import {
  ForceRefreshOutcome,
  ForceRefreshRequestSchema,
  ForceRefreshResponseSchema,
  GetRequestSchema,
  GetResponseSchema,
  type TokenState,
  WatchTokenRequestSchema,
  WatchTokenResponseSchema,
} from '../../../clients/node/src/gen/lingpai/client/v1/client_pb.js';
import { RpcError } from '../../../clients/node/src/index.ts';
import { endpointOf } from '../../../clients/node/src/options.ts';
import { Source } from '../../../clients/node/src/source.ts';
import { FILE, type vectors } from '../../conformance/wire/vectors.ts';

const { requests, messages, errors, limits }: ReturnType<typeof vectors> = JSON.parse(readFileSync(FILE, 'utf8'));
const bytesOf = (base64: string) => Buffer.from(base64, 'base64');

afterEach(() => {
  vi.useRealTimers();
});

it.each(requests)('makes the bytes of a request: $name', ({ message, binary, json, exact }) => {
  const schemas = { WatchTokenRequest: WatchTokenRequestSchema, GetRequest: GetRequestSchema };
  const schema = { ...schemas, ForceRefreshRequest: ForceRefreshRequestSchema }[message];
  if (schema === undefined) throw new Error(message);
  const made = toBinary(schema, fromJson(schema, json));
  if (exact) expect(Buffer.from(made)).toEqual(bytesOf(binary));
  expect(fromBinary(schema, made)).toEqual(fromBinary(schema, bytesOf(binary)));
});

/** A source that took a state, as the client gives it, on a clock that stands still. */
function sourceOf(state: TokenState | undefined, serverTime: MessageShape<typeof GetResponseSchema>['serverTime']) {
  const refresh = () => Promise.reject(new Error('not asked'));
  const source = new Source('wx1', { signal: new AbortController().signal, retryCapMs: 0, emit: () => {}, refresh });
  if (state) source.accept(state, msOf(serverTime));
  return source;
}

/** What a source holds, in the words of the vectors. */
function heldBy({ app, state: { token, words } }: Source, { generation = 0n }: Partial<TokenState> = {}) {
  const lifeOf = (end: number) => (end === Number.POSITIVE_INFINITY ? null : end - performance.now());
  const { previous } = token ?? {};
  return {
    ...{ app, generation: String(generation), tokenId: token?.id ?? null },
    ...(token && { lifeMs: lifeOf(token.expiresAt) }),
    ...(previous && { previousId: previous.id, previousLifeMs: lifeOf(previous.expiresAt) }),
    ...(words !== '' && { statusReason: words }),
  };
}

it.each(messages)('reads a message: $name', ({ message, binary, expect: said }) => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] });
  const { event, outcome, reconnectAfterMs, status, ...held } = said as Record<string, unknown>;
  if (message === 'GetResponse' || message === 'ForceRefreshResponse') {
    const schema = message === 'GetResponse' ? GetResponseSchema : ForceRefreshResponseSchema;
    const answer = fromBinary<typeof ForceRefreshResponseSchema | typeof GetResponseSchema>(schema, bytesOf(binary));
    expect(heldBy(sourceOf(answer.state, answer.serverTime), answer.state)).toEqual(held);
    if ('outcome' in answer) expect(ForceRefreshOutcome[answer.outcome] ?? 'UNKNOWN').toBe(outcome);
    return;
  }
  const { event: told, serverTime } = fromBinary(WatchTokenResponseSchema, bytesOf(binary));
  expect(told.case ?? null).toBe(event);
  if (told.case === 'goaway') expect(msOf(told.value.reconnectAfter)).toBe(reconnectAfterMs);
  if (told.case === 'removed') expect(told.value.appId).toBe(held['app']);
  if (told.case !== 'state') return;
  const source = sourceOf(told.value, serverTime);
  expect(heldBy(source, told.value)).toEqual(held);
  if (status === 'PENDING' || status === 'EXPIRED')
    expect(source.state).toMatchObject({ state: 'NONE', reason: status });
});

/** What a call comes to that is answered with these trailers, or with these bytes and nothing after them. */
async function answered(how: { trailers: Record<string, string> } | { bytes: Uint8Array }): Promise<unknown> {
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: 'trailers' in how });
    if ('bytes' in how) return stream.write(how.bytes);
    stream.on('wantTrailers', () => stream.sendTrailers(how.trailers));
    return stream.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const connection = await Connection.dial(endpointOf(`127.0.0.1:${(server.address() as AddressInfo).port}`, {}));
  const options = { timeoutMs: 5_000, signal: new AbortController().signal };
  const failed = await connection.unary(['Get', GetRequestSchema, GetResponseSchema], {}, options).catch((e) => e);
  server.close();
  return failed;
}

it.each(errors)('reads the trailers of an error: $name', async ({ grpcTrailers, expect: said }) => {
  const error = await answered({ trailers: grpcTrailers });
  expect(error).toBeInstanceOf(RpcError);
  const { code, reason, words: message, retryAfterMs: retryMs, app = null } = error as RpcError;
  expect({ code, reason, message, retryMs, app }).toEqual(said);
});

it.each(limits.envelopes)('takes a message of $length bytes: $isAccepted', async ({ head, length, isAccepted }) => {
  // One that is too long is refused by its head alone. Zeros are no message of protobuf's.
  const bytes = isAccepted ? Buffer.concat([bytesOf(head), Buffer.alloc(length)]) : bytesOf(head);
  const { code } = (await answered({ bytes })) as RpcError;
  expect(code).toBe(isAccepted ? 'INTERNAL' : 'RESOURCE_EXHAUSTED');
});

it.each(limits.values)('takes the token or not: $name', ({ binary, expect: said }) => {
  const { event, serverTime } = fromBinary(WatchTokenResponseSchema, bytesOf(binary));
  if (event.case !== 'state') throw new Error('no state');
  const take = () => sourceOf(event.value, serverTime).token.generation;
  if ((said as { isAccepted: boolean }).isAccepted) expect(take()).toBe(event.value.generation);
  else expect(take).toThrow(/1 to 2048 characters/);
});
