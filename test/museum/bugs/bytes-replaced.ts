import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Bytes that are not UTF-8 are read as U+FFFD. ' +
    'A file that was saved as GBK is sent to its users as question marks, and counts as sent.',
  edits: [
    {
      file: 'src/commands/lines.ts',
      find: 'if (problem ?? !isUtf8(whole))',
      replace: 'if (problem)',
    },
  ],
  caughtBy: {
    file: 'test/commands/results.test.ts',
    test: 'that are not UTF-8 are not text',
  },
};
