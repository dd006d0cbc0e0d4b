import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    "The time of a unary call of the Node library begins with the call, and not with the user's function that gives the key: where that never " +
    'answers, a report hangs, and so does who waits for it while the client is closed.',
  edits: [
    {
      file: 'clients/node/src/client.ts',
      find: 'await Connection.dialWithin(this.#endpoint, options)',
      replace: 'await Connection.dial(this.#endpoint)',
    },
  ],
  caughtBy: {
    file: 'test/clients/node/client.test.ts',
    test: 'a key that never comes holds up neither a report nor the close (R6, R15)',
  },
};
