import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Only the probe is believed. A company gateway that passes the token calls and nothing else gives none a verdict: then no report is ever believed, not even the 40001 that the broker itself was answered, and a dead token is served to its end.',
  edits: [
    {
      file: 'src/core/tokens/inquiry.ts',
      find: `if (!suspicion) return false;`,
      replace: `if (!suspicion || suspicion.error) return false;`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/no-verdict.test.ts',
    test: 'classic: is replaced at once when two calls report it',
  },
};
