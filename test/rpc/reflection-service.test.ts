import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServerReflection } from '../../src/gen/grpc/reflection/v1/reflection_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../src/gen/grpc/reflection/v1alpha/reflection_pb.js';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Service } from '../../src/transport/service.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { echo } from '../support/echo.ts';
import { framed, RawConnection } from '../support/raw-http2.ts';
import { grpcOf, Mounted } from '../support/rpc.ts';

const NOT_FOUND = 5;
const INVALID_ARGUMENT = 3;

let listener: Listener;

beforeEach(async () => {
  const unused = () => ({});
  const service = { desc: echo(), impl: { say: unused, chat: unused } } as unknown as Service;
  listener = await startGrpc(grpcOf(new Mounted(new FakeClock(), service)));
});

afterEach(() => listener.stop());

type Asked = { case: string; value: unknown };

it('reads no further while its answers are not read', async () => {
  using raw = new RawConnection(listener.address, 10);
  const stream = raw.open('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
  stream.pause();
  const question = framed(Buffer.from([0x3a, 20, ...Buffer.alloc(20, 'x')]));
  // More than HTTP/2's window holds.
  let left = 0;
  for (let i = 0; i < 20; i++) stream.write(Buffer.concat(Array(1_000).fill(question)), () => left++);
  await new Promise((resolve) => stream.once('response', resolve));
  // What was sent is read in a moment, if it is read at all.
  for (let i = 0; i < 1_000; i++) await settle();
  expect(left).toBeLessThan(10);
});

describe.each([
  ['v1', ServerReflection],
  ['v1alpha', ServerReflectionAlpha as unknown as typeof ServerReflection],
])('reflection %s', (_, desc) => {
  /** The answers to these questions, of one stream. */
  async function ask(...questions: (Asked | { case: undefined })[]) {
    const transport = createGrpcTransport({ baseUrl: `http://${listener.address}` });
    async function* requests() {
      for (const messageRequest of questions) yield { host: 'h', messageRequest } as object;
    }
    const answers = [];
    for await (const answer of createClient(desc, transport).serverReflectionInfo(requests())) answers.push(answer);
    return answers;
  }

  /** The names of the files in the answer, or its code. */
  async function files(question: Asked): Promise<(string | number)[]> {
    const [{ messageResponse: answer } = { messageResponse: undefined }] = await ask(question);
    if (answer?.case === 'errorResponse') return [answer.value.errorCode];
    if (answer?.case !== 'fileDescriptorResponse') throw new Error(`an answer of ${answer?.case}`);
    return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
  }

  it('lists the services that are there', async () => {
    const [answer] = await ask({ case: 'listServices', value: '' });
    const { messageResponse } = answer ?? {};
    if (messageResponse?.case !== 'listServicesResponse') throw new Error('no list');
    expect(messageResponse.value.service.map(({ name }) => name)).toEqual([
      'test.Echo',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
  });

  it.each([
    'test.Echo',
    'test.Echo.Say',
    'google.protobuf.StringValue',
    'grpc.health.v1.Health',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
    'grpc.reflection.v1.ServerReflection',
    'google.rpc.ErrorInfo',
    'google.rpc.RetryInfo',
    'google.rpc.BadRequest',
    'google.rpc.BadRequest.FieldViolation',
  ])('knows %s', async (symbol) => {
    const [first] = await files({ case: 'fileContainingSymbol', value: symbol });
    expect(first).toMatch(/\.proto$/);
    expect(await files({ case: 'fileByFilename', value: first })).toContain(first);
  });

  it('gives a file with all that it imports', async () => {
    expect(await files({ case: 'fileContainingSymbol', value: 'test.Echo' })).toEqual([
      'test.proto',
      'google/protobuf/wrappers.proto',
    ]);
  });

  it.each([
    ['fileContainingSymbol', 'test.Nobody'],
    ['fileContainingSymbol', ''],
    ['fileByFilename', 'nobody.proto'],
    ['fileByFilename', '__proto__'],
    ['fileContainingExtension', { containingType: 'test.Echo', extensionNumber: 1 }],
    ['allExtensionNumbersOfType', 'test.Nobody'],
  ])('says that there is none: %s %j', async (which, value) => {
    expect(await files({ case: which, value })).toEqual([NOT_FOUND]);
  });

  it('knows types without extensions', async () => {
    const [answer] = await ask({ case: 'allExtensionNumbersOfType', value: 'google.rpc.ErrorInfo' });
    expect(answer?.messageResponse).toMatchObject({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: 'google.rpc.ErrorInfo', extensionNumber: [] },
    });
  });

  it('answers each request with itself, and goes on after an error', async () => {
    const answers = await ask({ case: undefined }, { case: 'listServices', value: '*' });
    expect(answers.map(({ messageResponse }) => messageResponse.case)).toEqual([
      'errorResponse',
      'listServicesResponse',
    ]);
    expect(answers[0]?.messageResponse).toMatchObject({ value: { errorCode: INVALID_ARGUMENT } });
    expect(answers[1]).toMatchObject({
      validHost: 'h',
      originalRequest: { host: 'h', messageRequest: { case: 'listServices', value: '*' } },
    });
  });

  it('reads no request of more than 1 KiB, so that no answer is much larger than the files', async () => {
    await expect(ask({ case: 'fileByFilename', value: 'x'.repeat(2_000) })).rejects.toThrow('too large');
  });
});
