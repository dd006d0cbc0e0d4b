import { expect, it } from 'vitest';
import { CoalescedTimers } from '../../src/core/kernel/coalesced-timers.ts';
import { TokenMessages } from '../../src/rpc/token-messages.ts';
import { WatchStream } from '../../src/rpc/watch-stream.ts';
import { FakeClock } from '../support/clock.ts';

it('sets no timer for an event that comes as the call ends', async () => {
  const clock = new FakeClock();
  const watch = {
    onNews() {},
    take: () => undefined,
    next: () => Promise.resolve({ type: 'heartbeat', asOf: clock.now() } as const),
    [Symbol.dispose]() {},
  };
  let release = () => {};
  const control = {
    onClose: (callback: () => void) => {
      release = callback;
    },
    end() {},
  };
  const stalls = new CoalescedTimers<WatchStream>(clock, 30_000, (stream) => stream.stalled(30_000));
  const deps = { clock, messages: new TokenMessages(clock), stalls, propagation() {} };
  const next = new WatchStream(watch, control, deps).next();
  release();
  expect((await next).done).toBe(true);
  expect(clock.pending).toBe(0);
});
