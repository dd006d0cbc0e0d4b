import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The entries of a map in a request are not counted before it is decoded. A request of half a megabyte may have 250,000: ' +
    'to decode, check and copy them stops everyone for as long as that takes.',
  edits: [
    {
      file: 'src/rpc/validate.ts',
      find: 'bytes: 512 * 1024, fields: 2 * MAX_APP_IDS',
      replace: 'bytes: 512 * 1024, fields: 200 * MAX_APP_IDS',
    },
  ],
  caughtBy: { file: 'test/server/grpc.test.ts', test: 'of 250,000 empty entries is refused' },
};
