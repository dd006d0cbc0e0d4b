import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    "The Node library takes an error's words from grpc-js's details, where : , / = and ; are still percent-encoded: what the broker says " +
    'of a field is hard to read, and what it says of a path is not to be read at all.',
  edits: [
    {
      file: 'clients/node/src/connection.ts',
      find: "    if (status.message !== '') Object.assign(found, { words: status.message });\n",
      replace: '',
    },
  ],
  caughtBy: { file: 'test/clients/node/wire.test.ts', test: 'reads the trailers of an error: invalid request' },
};
