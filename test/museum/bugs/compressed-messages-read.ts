import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A call that says in its head that its messages are compressed is begun, and its messages are looked at as they come. ' +
    'Whoever decompresses them before they are asked for holds gigabytes for a few megabytes that a stranger sent.',
  edits: [
    {
      file: 'src/server/grpc-entrance.ts',
      find: "if ((headers['grpc-encoding'] ?? 'identity') !== 'identity') throw compressed();",
      replace: "if (headers['grpc-encoding'] === '') throw compressed();",
    },
  ],
  caughtBy: { file: 'test/server/grpc-door.test.ts', test: 'gzip' },
};
