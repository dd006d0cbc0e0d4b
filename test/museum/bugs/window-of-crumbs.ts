import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Flow control bounds the bytes that a stream holds, and so its memory is thought to be bounded. In DATA frames of one ' +
    'byte each, a window of 64 KiB was 8 MiB of objects for each stream, and a turn of the event loop took half a second.',
  edits: [{ file: 'src/server/grpc-connection.ts', find: 'bytes < CRUMB_BYTES', replace: 'bytes < 0' }],
  caughtBy: {
    file: 'test/server/grpc-door.test.ts',
    test: 'of DATA of one byte, to a call that is not read, ends the connection',
  },
};
