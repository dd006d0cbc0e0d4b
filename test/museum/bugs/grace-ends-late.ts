import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The end of the grace is noticed at the next occasion. For minutes clients are told that WeChat still honours ' +
    'a token which it refuses, and use it.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'const ends = [current, previous].map(',
      replace: 'const ends = [current].map(',
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'its predecessor is shown for exactly the overlap (P5)' },
};
