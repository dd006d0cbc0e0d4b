import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A reader that stopped reading is kept for ever. Its stream looks alive on both sides while its token grows ' +
    'old, and its place and memory are never given back.',
  edits: [
    {
      file: 'src/rpc/watch-stream.ts',
      find: 'this.#deps.stalls.start(this);',
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/rpc/token-service.test.ts',
    test: 'is ended as WATCHER_STALLED when a message is not taken in time',
  },
};
