import { describe, expect, it } from 'vitest';
import { Backoff } from '../../../clients/node/src/backoff.ts';
import { RpcError } from '../../../clients/node/src/index.ts';
import { endpointOf } from '../../../clients/node/src/options.ts';

const { timing } = endpointOf('127.0.0.1:1', {});
const error = (code: string, more: { reason?: string; retryAfterMs?: number; isLocal?: boolean } = {}) =>
  new RpcError({ code, words: '', ...more });
const down = error('UNAVAILABLE');
const highest = () => new Backoff(timing, () => 1);
const lowest = () => new Backoff(timing, () => 0);

describe('the pause before a stream', () => {
  it('is drawn from the floor to a bound that doubles to the cap (R5)', () => {
    const [low, high] = [lowest(), highest()];
    expect([0, 1, 2, 3, 4, 5, 6].map(() => high.after(down, false))).toEqual([
      500, 1000, 2000, 4000, 8000, 10_000, 10_000,
    ]);
    for (let i = 0; i < 3; i++) expect(low.after(down, false)).toBe(100);
    high.reset();
    expect(high.after(down, false)).toBe(500);
  });

  it('is never shorter than RetryInfo, which has a cap and a spread (R8)', () => {
    expect(lowest().after(error('RESOURCE_EXHAUSTED', { retryAfterMs: 4000 }), false)).toBe(4000);
    expect(highest().after(error('RESOURCE_EXHAUSTED', { retryAfterMs: 4000 }), false)).toBe(4800);
    expect(lowest().after(error('RESOURCE_EXHAUSTED', { retryAfterMs: 9e9 }), false)).toBe(300_000);
  });

  it.each(['UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED', 'UNAVAILABLE by the handshake'])(
    'is long after %s (R9)',
    (name) => {
      const refused = name.includes(' ') ? error('UNAVAILABLE', { isLocal: true }) : error(name);
      const [low, high] = [lowest(), highest()];
      expect([0, 1, 2, 3, 4].map(() => low.after(refused, true))).toEqual([30_000, 60_000, 120_000, 240_000, 300_000]);
      expect(high.after(refused, false)).toBe(36_000);
    },
  );

  it('is short after a credential that expired while it was used (R9)', () => {
    const expired = error('UNAUTHENTICATED', { reason: 'CREDENTIALS_EXPIRED' });
    expect(highest().after(expired, true)).toBe(500);
    expect(lowest().after(expired, false)).toBe(30_000);
  });

  it('is as a goaway says, within bounds (R7)', () => {
    expect([0, 7000, 9e9].map((ms) => highest().goaway(ms))).toEqual([100, 7000, 60_000]);
  });
});
