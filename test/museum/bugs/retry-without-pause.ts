import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A failed refresh is tried again at once. While WeChat is down, each app asks as fast as the failures come ' +
    'back: thousands of calls a minute, a minute quota that is spent when WeChat is up again, and an IP address ' +
    'that gets blocked.',
  edits: [
    {
      file: 'src/core/tokens/backoff.ts',
      find: 'return Math.max(earliest, recoversAt(error, attempt));',
      replace: 'return Math.min(now, recoversAt(error, attempt));',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'fails all who wait together, and none of them starts another refresh',
  },
};
