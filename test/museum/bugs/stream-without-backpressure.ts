import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Messages are handed to the transport though the one before has not left. It queues them without bound ' +
    'and never refuses, so the broker holds everything for every reader that hangs, and cannot tell that it ' +
    'hangs.',
  edits: [
    {
      file: 'src/server/outflow.ts',
      find: 'if (outlet.over || this.#isSending) return;',
      replace: 'if (outlet.over) return;',
    },
  ],
  caughtBy: { file: 'test/server/grpc.test.ts', test: 'gets the status if it wakes in time' },
};
