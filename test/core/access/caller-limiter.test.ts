import { describe, expect, it } from 'vitest';
import { CallerLimiter } from '../../../src/core/access/caller-limiter.ts';
import { FakeClock } from '../../support/clock.ts';

const limiter = (limits: { calls?: number; streams?: number }) => {
  const clock = new FakeClock();
  return { clock, limiter: new CallerLimiter({ calls: 10, streams: 2, ...limits }, clock) };
};

describe('calls', () => {
  it('a second of them may come at once, then one by one as time passes', async () => {
    const { clock, limiter: it } = limiter({ calls: 10 });
    for (let i = 0; i < 10; i++) expect(it.call('key:a')).toBe(0);
    expect(it.call('key:a')).toBe(100);
    await clock.advance(99);
    expect(it.call('key:a')).toBe(1);
    await clock.advance(1);
    expect(it.call('key:a')).toBe(0);
    expect(it.call('key:a')).toBe(100);
    await clock.advance(60_000);
    for (let i = 0; i < 10; i++) expect(it.call('key:a')).toBe(0);
    expect(it.call('key:a')).toBe(100);
  });

  it('one caller does not use up what another may', () => {
    const { limiter: it } = limiter({ calls: 1 });
    expect(it.call('key:a')).toBe(0);
    expect(it.call('key:a')).toBe(1000);
    expect(it.call('key:b')).toBe(0);
  });

  it('the wall clock does not matter', () => {
    const { clock, limiter: it } = limiter({ calls: 1 });
    it.call('key:a');
    clock.jump(3_600_000);
    expect(it.call('key:a')).toBe(1000);
  });

  it('other limits are in use from the next call on, and the same ones change nothing', () => {
    const { limiter: it } = limiter({ calls: 1 });
    it.call('key:a');
    it.configure({ calls: 1, streams: 5 });
    expect(it.call('key:a')).toBe(1000);
    it.configure({ calls: 2, streams: 5 });
    expect([it.call('key:a'), it.call('key:a'), it.call('key:a')]).toEqual([0, 0, 500]);
  });

  it('so many callers are remembered, those that were idle forgotten first', async () => {
    const { clock, limiter: it } = limiter({ calls: 1 });
    it.call('key:busy');
    it.call('key:old');
    await clock.advance(1500);
    it.call('key:busy');
    for (let i = 0; i < 9_998; i++) it.call(`key:${i}`);
    expect(it.remembered).toBe(10_000);
    it.call('key:one more');
    expect(it.remembered).toBe(10_000);
    // `key:old` went, and nobody who has just called.
    for (const name of ['key:busy', ...Array.from({ length: 20 }, (_, i) => `key:${i}`)])
      expect(it.call(name)).toBe(1000);
    for (let i = 0; i < 30_000; i++) it.call(`key:another ${i}`);
    expect(it.remembered).toBe(10_000);
  });
});

describe('streams', () => {
  it('are counted until they have ended, each once', () => {
    const { limiter: it } = limiter({ streams: 2 });
    const first = it.open('key:a');
    const second = it.open('key:a');
    expect(it.open('key:a')).toBeUndefined();
    expect(it.open('key:b')).toBeDefined();
    first?.();
    first?.();
    expect(it.streams('key:a')).toBe(1);
    expect(it.open('key:a')).toBeDefined();
    expect(it.open('key:a')).toBeUndefined();
    second?.();
    expect(it.streams('key:a')).toBe(1);
    expect(it.streams('key:nobody')).toBe(0);
  });

  it('that are open count against other limits', () => {
    const { limiter: it } = limiter({ streams: 2 });
    it.open('key:a');
    const second = it.open('key:a');
    it.configure({ calls: 10, streams: 1 });
    second?.();
    expect(it.open('key:a')).toBeUndefined();
    it.configure({ calls: 10, streams: 2 });
    expect(it.open('key:a')).toBeDefined();
    expect(it.streams('key:a')).toBe(2);
  });
});
