import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A deadline is computed in 32 bits. A caller that is ready to wait for ever, and writes the longest time that gRPC has, ' +
    'is told at once that its time has passed.',
  edits: [
    {
      file: 'src/server/grpc-entrance.ts',
      find: 'return Math.min(timeoutMs, LONGEST_TIMEOUT_MS);',
      replace: 'return Math.min(timeoutMs | 0, LONGEST_TIMEOUT_MS);',
    },
  ],
  caughtBy: { file: 'test/server/grpc-door.test.ts', test: 'of 99999999H do not pass at once' },
};
