import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, expect, it, vi } from 'vitest';
import {
  TokenSchema,
  TokenStateSchema,
  TokenStatus,
} from '../../../clients/node/src/gen/lingpai/client/v1/client_pb.js';
import { RejectedError, RpcError } from '../../../clients/node/src/index.ts';
import { Source } from '../../../clients/node/src/source.ts';

const NOW = 1_700_000_000_000;

const state = (generation: bigint, value?: string, lifeMs = 60_000) =>
  create(TokenStateSchema, {
    appId: 'wx1',
    generation,
    status: value === undefined ? TokenStatus.EXPIRED : TokenStatus.FRESH,
    ...(value !== undefined && { current: { value, expireTime: timestampFromMs(NOW + lifeMs) } }),
  });

type Refresh = ConstructorParameters<typeof Source>[1]['refresh'];
const sourceWith = (refresh: Refresh = () => Promise.reject(new Error('not asked'))) =>
  new Source('wx1', { signal: new AbortController().signal, retryCapMs: 300_000, emit: () => {}, refresh });

afterEach(() => {
  vi.useRealTimers();
});

it('never falls, also above 2^63, until the app is removed (R2)', () => {
  const source = sourceWith();
  source.accept(state(2n ** 63n + 5n, 'B'), NOW);
  for (const old of [2n ** 63n + 4n, 2n ** 53n, 0n]) source.accept(state(old, 'A'), NOW);
  source.accept(state(1n), NOW);
  expect(source.token).toMatchObject({ value: 'B', generation: 2n ** 63n + 5n });
  source.removed();
  expect(() => source.token).toThrow(/REMOVED/);
  source.accept(state(1n, 'A'), NOW);
  expect(source.token.value).toBe('A');
});

it('of equal generations the newest status stands (R2)', () => {
  const source = sourceWith();
  source.accept(state(3n, 'A'), NOW);
  source.accept(state(3n), NOW);
  expect(() => source.token).toThrow(/EXPIRED/);
  source.accept(state(3n, 'A'), NOW);
  expect(source.token.value).toBe('A');
});

it("a token lives for what the broker's own clock says, whatever the one here says (R3)", () => {
  vi.useFakeTimers({ now: 5 });
  const source = sourceWith();
  source.accept(state(1n, 'A', 60_000), NOW);
  vi.setSystemTime(NOW + 3_600_000);
  vi.advanceTimersByTime(59_999);
  expect(source.token.value).toBe('A');
  vi.advanceTimersByTime(1);
  expect(source.state).toMatchObject({ state: 'NONE', reason: 'EXPIRED' });
  expect(() => source.token).toThrow(/EXPIRED/);
});

it('a token is not handed out after its life, although the timer is late (R3)', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const source = sourceWith();
  source.accept(state(1n, 'A', 60_000), NOW);
  vi.advanceTimersByTime(60_000);
  expect(() => source.token).toThrow(/EXPIRED/);
});

it('the token before is shown for as long as WeChat honours it (R13)', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const source = sourceWith();
  const rotated = state(2n, 'B');
  source.accept(
    Object.assign(rotated, { previous: create(TokenSchema, { value: 'A', expireTime: timestampFromMs(NOW + 300) }) }),
    NOW,
  );
  const { token } = source;
  expect(token.previous?.value).toBe('A');
  vi.advanceTimersByTime(300);
  expect(token.previous).toBeUndefined();
  expect(source.token.value).toBe('B');
});

it('a value that is no token is an error, and changes nothing (R18)', () => {
  const source = sourceWith();
  source.accept(state(1n, 'A'), NOW);
  for (const value of ['', 'x'.repeat(2049)]) expect(() => source.accept(state(2n, value), NOW)).toThrow(RpcError);
  expect(source.token.value).toBe('A');
});

it('a report that was refused is not made again before its time (R11)', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  let asked = 0;
  const source = sourceWith(async () => {
    asked++;
    throw new RpcError({ code: 'RESOURCE_EXHAUSTED', reason: 'COOLDOWN', words: 'wait', retryAfterMs: 5000 });
  });
  source.accept(state(1n, 'A'), NOW);
  const { token } = source;
  for (let i = 0; i < 3; i++) await expect(source.report(token)).rejects.toMatchObject({ reason: 'COOLDOWN' });
  expect(asked).toBe(1);
  vi.advanceTimersByTime(5000);
  await expect(source.report(token)).rejects.toMatchObject({ reason: 'COOLDOWN' });
  expect(asked).toBe(2);
});

it.each(['STILL_VALID', 'an error'])(
  'after %s the refusal is thrown as it is, after one attempt (R12)',
  async (what) => {
    const source = sourceWith(async () => {
      if (what === 'an error') throw new RpcError({ code: 'UNAVAILABLE', words: 'down' });
      return { outcome: 'STILL_VALID', state: state(2n, 'B'), now: NOW };
    });
    source.accept(state(1n, 'A'), NOW);
    const refusal = new RejectedError(40001);
    const business = vi.fn(() => Promise.reject(refusal));
    await expect(source.call(business)).rejects.toBe(refusal);
    expect(business).toHaveBeenCalledTimes(1);
  },
);

it('another error of the user is no report (R12)', async () => {
  const source = sourceWith();
  source.accept(state(1n, 'A'), NOW);
  const fault = new Error('of the user');
  await expect(source.call(() => Promise.reject(fault))).rejects.toBe(fault);
});
