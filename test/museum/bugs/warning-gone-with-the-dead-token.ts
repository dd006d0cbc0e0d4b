import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The warning that another program mints goes with the token that it killed: the mint that replaces that clears it, on every replica, within milliseconds, and nobody reads it.',
  edits: [
    {
      file: 'src/core/cluster/landing.ts',
      find: `context.isQuiet ? '' : shared.warning`,
      replace: `context.isQuiet ? shared.warning.slice(0, 0) : ''`,
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/outside-mint.test.ts',
    test: 'belongs to all replicas, and stays until the next scheduled rotation without one',
  },
};
