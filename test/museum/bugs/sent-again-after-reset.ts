import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Whatever fails with a reset connection is sent again. The other end may have read the request before it went away: a user gets ' +
    'the message twice, and the token of a mint that nobody heard of replaces the one that everybody has.',
  edits: [
    {
      file: 'src/wechat/exchange.ts',
      find: `isClosed(error) && 'syscall' in error && error.syscall === 'write' && size <= ONE_PIECE_BYTES`,
      replace: 'isClosed(error) && size <= ONE_PIECE_BYTES',
    },
  ],
  caughtBy: {
    file: 'test/wechat/connection-pool.test.ts',
    test: 'a message that was taken is not sent again when its reused connection is reset',
  },
};
