import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A watch is released only where its stream ends. A stream that is suspended at a message does not learn ' +
    'that its client left, so that each client that disconnects in a bad moment leaves a watch, its timers and ' +
    'its place behind.',
  edits: [
    {
      file: 'src/rpc/watch-stream.ts',
      find: 'control.onClose(() => this.#release());',
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/rpc/token-service.test.ts',
    test: 'is released when its call is over, suspended at a message or waiting for one',
  },
};
