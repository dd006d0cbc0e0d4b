import { expect, it, vi } from 'vitest';
import { type Progress, ProgressView, renderBar, renderProgress } from '../../src/commands/progress.ts';

const half: Progress = { done: 50_000, total: 100_000, failed: 12, elapsedMs: 20_000, doneNow: 46_000 };

it.each<[Partial<Progress>, string]>([
  [{}, '50000 of 100000 (50%), 2300/s, 0:21 left, 12 failed'],
  [{ failed: 0 }, '50000 of 100000 (50%), 2300/s, 0:21 left'],
  [{ done: 0, doneNow: 0, elapsedMs: 0, failed: 0 }, '0 of 100000 (0%), 0.0/s'],
  [{ done: 99_999 }, '99999 of 100000 (99%), 2300/s, 0:00 left, 12 failed'],
  [{ done: 100_000 }, '100000 of 100000 (100%), 2300/s, 12 failed'],
  [{ doneNow: 30 }, '50000 of 100000 (50%), 1.5/s, 9:15:33 left, 12 failed'],
  [{ done: 0, total: 0, doneNow: 0, failed: 0 }, '0 of 0 (100%), 0.0/s'],
])('%j: %s', (changes, text) => {
  expect(renderProgress({ ...half, ...changes })).toBe(text);
});

it('a bar is as wide as the share, and makes room for the words', () => {
  const bar = renderBar(half, 120);
  expect(bar).toBe(`${'█'.repeat(12)}${'░'.repeat(12)}  ${renderProgress(half)}`);
  expect(renderBar({ ...half, done: 100_000 }, 120)).toContain('█'.repeat(24));
  expect(renderBar(half, 60)).toBe(renderProgress(half));
  expect(renderBar(half, 20)).toHaveLength(20);
});

it('a terminal is drawn over, and anything else gets whole lines', () => {
  vi.useFakeTimers();
  try {
    const written = (isTTY: boolean) => {
      let text = '';
      const view = new ProgressView({ isTTY, columns: 60, write: (more) => (text += more) }, () => half);
      vi.advanceTimersByTime(5_000);
      view.close();
      return text;
    };
    const line = renderProgress(half);
    expect(written(true).replaceAll('\r\x1b[2K', '|')).toMatch(/^(\|50000[^|\n]+)+\n$/);
    expect(written(false)).toBe(`${line}\n${line}\n`);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
