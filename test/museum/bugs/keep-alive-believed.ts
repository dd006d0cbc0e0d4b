import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An idle connection is kept for as long as `Keep-Alive: timeout=` promises. A box in between forgets it sooner and without a word: the ' +
    'first message after each pause is written into nothing and nobody knows whether it was sent, and the first mint is a time-out.',
  edits: [
    {
      file: 'src/wechat/connection-pool.ts',
      find: `    keepAliveMaxTimeout: MAX_IDLE_MS,\n`,
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/wechat/connection-pool.test.ts',
    test: 'a message directly is not sent on a connection that was idle for 4 s, whatever Keep-Alive promises',
  },
};
