import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startPurge, startSweep } from '../../src/ops/tasks.ts';

// node-cron brings its own use of the machine's timers: these replace them.
beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 0, 15, 12, 0, 10) }));
afterEach(() => void vi.useRealTimers());

test('sweeps at every full and half minute until it is stopped', async () => {
  const at: string[] = [];
  const sweep = startSweep(
    () => at.push(new Date().toISOString().slice(14, 19)),
    (error) => {
      throw error;
    },
  );
  await vi.advanceTimersByTimeAsync(90_000);
  expect(at).toEqual(['00:30', '01:00', '01:30']);
  sweep.stop();
  sweep.stop();
  await vi.advanceTimersByTimeAsync(90_000);
  expect(at.length).toBe(3);
  expect(vi.getTimerCount()).toBe(0);
});

test('tells of a sweep that failed, sweeps on, and leaves the console alone', async () => {
  const printed = ['log', 'info', 'warn', 'error', 'debug'].map((name) =>
    vi.spyOn(console, name as 'log').mockImplementation(() => {}),
  );
  const failure = new Error('boom');
  const errors: unknown[] = [];
  let runs = 0;
  const sweep = startSweep(
    () => {
      runs++;
      throw failure;
    },
    (error) => errors.push(error),
  );
  await vi.advanceTimersByTimeAsync(20_000);
  // The process stood still for ten minutes.
  vi.setSystemTime(Date.now() + 600_000);
  await vi.advanceTimersByTimeAsync(60_000);
  sweep.stop();
  expect(runs).toBeGreaterThanOrEqual(2);
  expect(errors).toEqual(Array(runs).fill(failure));
  expect(printed.flatMap((spy) => spy.mock.calls)).toEqual([]);
});

test('purges each night at 03:30 in Shanghai until it is stopped', async () => {
  const at: string[] = [];
  const done: unknown[] = [];
  const purge = startPurge({
    purge: async () => {
      at.push(new Date().toISOString().slice(8, 16));
      return { keys: 1, permits: 2 };
    },
    onDone: (purged) => done.push(purged),
    onError: (error) => {
      throw error;
    },
  });
  await vi.advanceTimersByTimeAsync(2 * 86_400_000);
  expect(at).toEqual(['15T19:30', '16T19:30']);
  expect(done).toEqual([
    { keys: 1, permits: 2 },
    { keys: 1, permits: 2 },
  ]);
  purge.stop();
  await vi.advanceTimersByTimeAsync(2 * 86_400_000);
  expect(at).toHaveLength(2);
  expect(vi.getTimerCount()).toBe(0);
});

test('tells of a purge that failed, and purges again the next night', async () => {
  const errors: unknown[] = [];
  let runs = 0;
  const failure = new Error('boom');
  const purge = startPurge({
    purge: async () => {
      if (++runs === 1) throw failure;
      return { keys: 0, permits: 0 };
    },
    onDone: () => {},
    onError: (error) => errors.push(error),
  });
  await vi.advanceTimersByTimeAsync(2 * 86_400_000);
  purge.stop();
  expect([runs, errors]).toEqual([2, [failure]]);
});
