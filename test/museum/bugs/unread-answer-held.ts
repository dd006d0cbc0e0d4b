import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An answer that its caller does not read is held for as long as the caller keeps the connection open. A few hundred ' +
    'idle callers of /metrics take all memory.',
  edits: [
    {
      file: 'src/server/http-answers.ts',
      find: 'if (response.socket) reset(response.socket);',
      replace: 'if (response.socket) return;',
    },
  ],
  caughtBy: {
    file: 'test/server/http-limits.test.ts',
    test: 'of a page is given up, and its connection reset',
  },
};
