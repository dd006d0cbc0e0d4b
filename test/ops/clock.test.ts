import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/ops/clock.ts';
import { systemRandom } from '../../src/ops/random.ts';

describe('systemClock', () => {
  // What is tested here is the way it uses the machine's own timers: these replace them.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] }));
  afterEach(() => void vi.useRealTimers());

  test.each([
    ['at once', 0],
    ['at once when the delay is negative', -5],
    ['after a fraction of a millisecond', 0.5],
    ['after a second', 1_000],
    ['after more than setTimeout can wait', 2 ** 31 + 5_000],
    ['after 90 days', 90 * 86_400_000],
  ])('fires %s, once and never early', (_, delayMs) => {
    const start = systemClock.monotonic();
    const fired: number[] = [];
    systemClock.schedule(delayMs, () => fired.push(systemClock.monotonic() - start));
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(Math.max(0, delayMs - 1));
    if (delayMs > 1) expect(fired).toEqual([]);
    vi.advanceTimersByTime(2);
    vi.advanceTimersByTime(2 ** 31);
    expect(fired.length).toBe(1);
    expect(fired[0]).toBeGreaterThanOrEqual(delayMs);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('long waits that end within the same tenth of a second end together, 0.1 s late at most', () => {
    const ends: number[] = [];
    const start = systemClock.monotonic();
    for (let i = 0; i < 200; i++) {
      const due = systemClock.monotonic() + 60_000;
      systemClock.schedule(60_000, () => {
        const end = systemClock.monotonic();
        ends.push(end);
        expect(end).toBeGreaterThanOrEqual(due);
        expect(end).toBeLessThan(due + 101);
      });
      vi.advanceTimersByTime(1);
    }
    expect(systemClock.monotonic()).toBe(start + 200);
    vi.advanceTimersByTime(61_000);
    expect(ends).toHaveLength(200);
    expect(new Set(ends).size).toBeLessThanOrEqual(3);
  });

  test('waits on when setTimeout fires early', () => {
    let fired = false;
    const real = globalThis.setTimeout;
    vi.spyOn(globalThis, 'setTimeout').mockImplementationOnce(((fn: () => void, ms: number) =>
      real(fn, ms - 1)) as typeof setTimeout);
    systemClock.schedule(100, () => {
      fired = true;
    });
    vi.advanceTimersByTime(99);
    expect(fired).toBe(false);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(true);
  });

  test.each([1, 100, 2 ** 31 + 5_000])('a cancelled timer never fires (%s ms)', (delayMs) => {
    let fired = false;
    const timer = systemClock.schedule(delayMs, () => {
      fired = true;
    });
    vi.advanceTimersByTime(delayMs - 1);
    timer.cancel();
    timer.cancel();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(2 ** 31);
    expect(fired).toBe(false);
  });

  test('tells the wall time', () => {
    vi.setSystemTime(1_700_000_000_000);
    expect(systemClock.now()).toBe(1_700_000_000_000);
  });
});

describe('systemClock and the life of the process', () => {
  const clock = JSON.stringify(new URL('../../src/ops/clock.ts', import.meta.url).href);
  test.each([
    ['a pending timer holds it', `systemClock.schedule(20, () => console.log('fired'));`, 'fired\n'],
    ['a cancelled one does not', `systemClock.schedule(3_600_000, () => console.log('fired')).cancel();`, ''],
  ])('%s', async (_, code, expected) => {
    const script = `import { systemClock } from ${clock}; ${code}`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(output).toBe(expected);
  });
});

test('systemRandom stays within [0, 1) and moves', () => {
  const drawn = Array.from({ length: 100 }, systemRandom);
  expect(drawn.every((x) => x >= 0 && x < 1)).toBe(true);
  expect(new Set(drawn).size).toBeGreaterThan(50);
});
