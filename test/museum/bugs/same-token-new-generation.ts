import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The same stable token coming back is taken for a new one. A normal call of stable_token is a read: every ' +
    'poll near the end of its life then wakes all watchers, and shows the current token as its own predecessor.',
  edits: [
    {
      file: 'src/core/tokens/commit.ts',
      find: 'issued.value === current.value',
      replace: `current.value === ''`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'does not take the same token for a new generation' },
};
