import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A refresh has no deadline of its own. One request that WeChat never answers holds the lock: nobody else may ' +
    'refresh, callers wait for minutes, and the app stays without a token long after WeChat works again.',
  edits: [
    {
      file: 'src/core/kernel/abortable.ts',
      find: 'clock.schedule(timeoutMs,',
      replace: 'clock.schedule(timeoutMs * 1e9,',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'gives up on a refresh that is never answered, and tries again',
  },
};
