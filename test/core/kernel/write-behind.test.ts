import { describe, expect, it } from 'vitest';
import { WriteBehind } from '../../../src/core/kernel/write-behind.ts';
import { FakeClock } from '../../support/clock.ts';

/** A write that fails as often as it is told to. */
function failing(times: number) {
  const clock = new FakeClock();
  const told: string[] = [];
  let attempts = 0;
  const writes = new WriteBehind({
    clock,
    random: () => 0,
    write: async () => {
      if (attempts++ < times) throw new Error('the disk is full');
    },
    onFailure: (_error, failures, retryInMs) => told.push(`failed ${failures}, again in ${retryInMs}`),
    onSuccess: (failures) => told.push(`written after ${failures}`),
  });
  return { clock, told, writes, attempts: () => attempts };
}

describe('a write', () => {
  it('that fails is repeated until it succeeds', async () => {
    const { clock, told, writes } = failing(2);
    await writes.flush();
    expect(writes.failing).toBe(true);
    await clock.advance(1_000);
    await clock.advance(1_000);
    expect(told).toEqual(['failed 1, again in 1000', 'failed 2, again in 1000', 'written after 2']);
    expect([writes.failing, clock.pending]).toEqual([false, 0]);
  });

  it('is one at a time: who flushes meanwhile joins it', async () => {
    const { writes, attempts } = failing(0);
    await Promise.all([writes.flush(), writes.flush()]);
    expect(attempts()).toBe(1);
  });

  it('is made at once when it is flushed again, and not a second time when its pause is over', async () => {
    const { clock, writes, attempts } = failing(1);
    await writes.flush();
    await writes.flush();
    await clock.advance(60_000);
    expect(attempts()).toBe(2);
  });
});

describe('the end', () => {
  it('tries once more what could not be written, then leaves it', async () => {
    const { clock, told, writes } = failing(9);
    await writes.flush();
    await writes.stop();
    expect(told).toEqual(['failed 1, again in 1000', 'failed 2, again in null']);
    await clock.advance(60_000);
    expect(told).toHaveLength(2);
  });

  it('writes nothing where nothing is left', async () => {
    const { writes, attempts } = failing(0);
    await writes.flush();
    await writes.stop();
    expect(attempts()).toBe(1);
  });
});
