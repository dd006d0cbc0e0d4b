import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A limit on the length of a text is counted before the text is normalized. NFKC makes 18 characters of U+FDFA, and what ' +
    'grows with the square of the length 324 times as much: 6 KB of one caller hold up all the others for 16 seconds.',
  edits: [
    {
      file: 'src/core/review/review.ts',
      find: 'if (characters.length > MAX_LENGTH &&',
      replace: 'if ([...text].length > MAX_LENGTH &&',
    },
  ],
  caughtBy: {
    file: 'test/core/review/review.test.ts',
    test: 'is bounded by limits that count for folded texts too',
  },
};
