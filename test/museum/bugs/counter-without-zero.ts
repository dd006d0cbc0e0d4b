import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A counter has no series until it first counts something. increase() then sees a series that begins at 1, and not one that ' +
    'rose: the first outside mint, the one that matters, wakes nobody.',
  edits: [
    {
      file: 'src/ops/app-counter.ts',
      find: 'for (const labels of this.#starts) yield',
      replace: 'for (const labels of this.#starts) if (counts?.has(labels)) yield',
    },
  ],
  caughtBy: {
    file: 'test/ops/metrics.test.ts',
    test: 'has a series for each app before anything happens, and no others',
  },
};
