import { toJson } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { TokenState } from '../../src/core/tokens/state.ts';
import { TokenStateSchema } from '../../src/gen/lingpai/v1/token_pb.js';
import { TokenMessages, toTokenState } from '../../src/rpc/token-messages.ts';
import { FakeClock } from '../support/clock.ts';

const NOON = Date.UTC(2026, 0, 15, 12);

const STATE: TokenState = {
  appId: 'wx1',
  generation: 1_768_478_400_000,
  current: { value: 'V2', id: 'aaaaaaaaaaaa', issueTime: NOON, expireTime: NOON + 7_200_000.5 },
  previous: { value: 'V1', id: 'bbbbbbbbbbbb', issueTime: NOON - 7_200_000, expireTime: NOON + 300_000 },
  status: 'DEGRADED',
  statusReason: 'WeChat is busy (-1)',
  nextRefreshTime: NOON + 3_600_000,
  answeredAt: 5,
};

describe('a state', () => {
  it('is mapped whole', () => {
    expect(toJson(TokenStateSchema, toTokenState(STATE))).toEqual({
      appId: 'wx1',
      generation: '1768478400000',
      current: {
        value: 'V2',
        id: 'aaaaaaaaaaaa',
        issueTime: '2026-01-15T12:00:00Z',
        expireTime: '2026-01-15T14:00:00Z',
      },
      previous: {
        value: 'V1',
        id: 'bbbbbbbbbbbb',
        issueTime: '2026-01-15T10:00:00Z',
        expireTime: '2026-01-15T12:05:00Z',
      },
      status: 'TOKEN_STATUS_DEGRADED',
      statusReason: 'WeChat is busy (-1)',
      nextRefreshTime: '2026-01-15T13:00:00Z',
    });
  });

  it('leaves out what there is not', () => {
    const nothing = { current: null, previous: null, nextRefreshTime: null, statusReason: '' };
    expect(toJson(TokenStateSchema, toTokenState({ ...STATE, ...nothing, status: 'PENDING', generation: 0 }))).toEqual({
      appId: 'wx1',
      status: 'TOKEN_STATUS_PENDING',
    });
  });

  it.each(['PENDING', 'FRESH', 'DEGRADED', 'EXPIRED'] as const)('may be %s', (status) => {
    expect(toJson(TokenStateSchema, toTokenState({ ...STATE, status }))).toMatchObject({
      status: `TOKEN_STATUS_${status}`,
    });
  });
});

describe('shared messages', () => {
  it('are one object for all callers for 100 ms, frozen, and then have a new server_time', async () => {
    const clock = new FakeClock(NOON);
    const messages = new TokenMessages(clock);
    const first = [messages.answer(STATE), messages.state(STATE), messages.heartbeat(NOON)] as const;
    expect(first.every((message) => Object.isFrozen(message))).toBe(true);
    await clock.advance(99);
    expect(messages.answer(STATE)).toBe(first[0]);
    expect(messages.state(STATE)).toBe(first[1]);
    expect(messages.heartbeat(NOON + 99)).toBe(first[2]);
    await clock.advance(1);
    const later = [messages.answer(STATE), messages.state(STATE), messages.heartbeat(NOON + 100)] as const;
    for (const [index, message] of later.entries()) {
      expect(message).not.toBe(first[index]);
      expect(message.serverTime).toMatchObject({ nanos: 100_000_000 });
    }
    expect(later[0].state).toBe(first[0].state);
  });

  it('are those of apps that are gone and of goodbyes too', async () => {
    const clock = new FakeClock(NOON);
    const messages = new TokenMessages(clock);
    const first = [messages.removed('wx1'), messages.goaway(1_239)] as const;
    expect(first.every((message) => Object.isFrozen(message))).toBe(true);
    await clock.advance(99);
    expect(messages.removed('wx1')).toBe(first[0]);
    expect(messages.removed('wx2').event.value).toMatchObject({ appId: 'wx2' });
    // Times within the same 20 ms are told as one.
    expect(messages.goaway(1_220)).toBe(first[1]);
    expect(first[1].event.value).toMatchObject({ reconnectAfter: { seconds: 1n, nanos: 220_000_000 } });
    expect(messages.goaway(1_240)).not.toBe(first[1]);
    await clock.advance(1);
    expect(messages.removed('wx1')).not.toBe(first[0]);
    expect(messages.goaway(1_239)).not.toBe(first[1]);
  });

  it('are another object as soon as the state is', () => {
    const messages = new TokenMessages(new FakeClock());
    expect(messages.answer({ ...STATE })).not.toBe(messages.answer(STATE));
  });
});
