import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createServer as createHttp1 } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ForceRefreshOutcome,
  TokenService,
  TokenStateSchema,
  TokenStatus,
  type WatchTokenResponseSchema,
} from '../../../src/gen/lingpai/v1/token_pb.js';
import { switches } from './switches.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const stateOf = (generation: bigint) =>
  create(TokenStateSchema, {
    appId: 'wx1',
    generation,
    status: TokenStatus.FRESH,
    current: { value: `canary-${generation}`, expireTime: { seconds: 7_000n } },
  });
const serverTime = { seconds: 0n };

/** A broker that rotates when it is told that its token was refused. */
async function broker(kind: string) {
  let generation = 2n ** 63n + 1n;
  const known: Record<string, bigint>[] = [];
  let rotated = Promise.withResolvers<void>();
  const service: Partial<ServiceImpl<typeof TokenService>> = {
    async *watchToken(
      { knownGenerations },
      { signal },
    ): AsyncGenerator<MessageInitShape<typeof WatchTokenResponseSchema>> {
      known.push(knownGenerations);
      signal.addEventListener('abort', () => rotated.resolve());
      while (!signal.aborted) {
        yield { event: { case: 'state', value: stateOf(generation) }, serverTime };
        await rotated.promise;
      }
    },
    forceRefresh() {
      generation += 1n;
      rotated.resolve();
      rotated = Promise.withResolvers();
      return { state: stateOf(generation), outcome: ForceRefreshOutcome.REFRESHED, serverTime };
    },
  };
  const handler = connectNodeAdapter({ routes: (router) => router.service(TokenService, service) });
  const server = kind === 'grpc' ? createHttp2(handler) : createHttp1(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  return { target: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, known };
}

interface Answer {
  readonly ok?: Record<string, unknown>;
  readonly error?: Record<string, unknown>;
}

function driver(...args: string[]) {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(new URL('driver.ts', import.meta.url)),
    ...args,
  ]);
  cleanups.push(() => child.kill());
  const open = new Map<number, (answer: Answer) => void>();
  let last = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...answer } = JSON.parse(line);
    open.get(id)?.(answer);
  });
  const ask = (op: string, fields: object = {}) => {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    last += 1;
    open.set(last, resolve);
    child.stdin.write(`${JSON.stringify({ id: last, op, client: 'a', app: 'wx1', ...fields })}\n`);
    return promise;
  };
  return { ask, child };
}

describe.each(['grpc', 'connect'])('the reference driver by %s', (kind) => {
  it('starts, reads, has a refused token replaced, and closes', async () => {
    const { target } = await broker(kind);
    const { ask, child } = driver('--transport', kind);
    expect((await ask('hello')).ok).toMatchObject({ name: 'reference', transport: kind });
    expect(await ask('create', { options: { target, apps: ['wx1'] } })).toEqual({ ok: {} });
    expect((await ask('token')).ok).toMatchObject({ generation: `${2n ** 63n + 1n}` });
    const called = await ask('call', { script: ['40001', 'ok'] });
    expect(called.ok).toMatchObject({ attempts: 2 });
    expect(new Set(called.ok?.['tokenIds'] as string[]).size).toBe(2);
    const waited = await ask('wait', { generation: `${2n ** 63n + 2n}`, timeoutMs: 5_000 });
    expect(waited.ok).toMatchObject({ generation: `${2n ** 63n + 2n}` });
    expect((await ask('stats')).ok).toMatchObject({ state: 'LIVE', reports: 1, apps: { wx1: { state: 'HELD' } } });
    expect(await ask('close')).toEqual({ ok: {} });
    expect(await ask('close')).toEqual({ ok: {} });
    expect((await ask('token')).error).toMatchObject({ kind: 'Closed' });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.stdin.end();
    expect(await ended).toBe(0);
  });

  it('rounds generations where a switch breaks that rule', async () => {
    const { target } = await broker(kind);
    const { ask } = driver('--transport', kind, '--break', 'generations-as-numbers');
    await ask('create', { options: { target, apps: ['wx1'] } });
    expect((await ask('token')).ok).toMatchObject({ generation: `${2n ** 63n}` });
  });

  it('tells a start without a broker by StartTimeout', async () => {
    const { ask } = driver('--transport', kind);
    const options = { target: 'http://127.0.0.1:1', apps: ['wx1'], startTimeoutMs: 200 };
    expect((await ask('create', { options })).error).toMatchObject({ kind: 'StartTimeout' });
  });
});

it('has a switch for each scenario', () => {
  const all = new Set(Object.values(switches).flat());
  expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 27 }, (_, at) => at + 1));
});
