import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `An older answer takes the place of a newer one. WeChat's own replicas lag, and a read may return the ` +
    'predecessor once more: whoever takes every answer for news goes back to a token that dies within 5 minutes, ' +
    'and tells all watchers to do the same.',
  edits: [
    {
      file: 'src/core/tokens/commit.ts',
      find: 'issued.value === previous.value',
      replace: `previous.value === ''`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'is not taken back by an older answer' },
};
