import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The words of an error go into trailers as they are. Half a surrogate pair, which a request or WeChat may bring, cannot be ' +
    'written there: a stream has no end, or the fault ends the broker for all.',
  edits: [
    {
      file: 'src/server/http-call.ts',
      find: 'if (rawMessage.isWellFormed()) return error;',
      replace: 'if (code > 0) return error;',
    },
  ],
  caughtBy: { file: 'test/server/http-stream.test.ts', test: 'is told with what stands for it: grpc-web+proto' },
};
