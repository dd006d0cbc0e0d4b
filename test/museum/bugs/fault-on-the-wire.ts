import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The text of an unexpected error is sent to the caller. grpc-js does so with whatever error it is given: ' +
    'paths, queries and now and then a secret reach everyone who can make the broker stumble.',
  edits: [
    {
      file: 'src/rpc/errors.ts',
      find: `'the broker failed to handle the call; its log has the cause'`,
      replace: 'String(error)',
    },
  ],
  caughtBy: { file: 'test/rpc/errors.test.ts', test: 'is INTERNAL, goes to the log, and tells the caller nothing' },
};
