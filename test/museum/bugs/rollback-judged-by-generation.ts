import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Whether the store went back in time is judged by generations alone. A failover that loses the last second loses ' +
    'the intent of a mint without losing a token; the mint is forgotten by all, and no confirming one is owed.',
  edits: [
    {
      file: 'src/core/cluster/restore.ts',
      find: 'return sharedOf(there).epoch < sharedOf(known).epoch;',
      replace: 'return false;',
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/restore.test.ts',
    test: 'is behind by its generation, and with the same generation by its epoch',
  },
};
