import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Where WeChat refuses the token that a ticket is fetched with, that is passed on as the failure of the ticket. Something else ' +
    'has minted a token, and until the broker finds out by itself no page of the app can be signed.',
  edits: [
    {
      file: 'src/core/tickets/ticket-calls.ts',
      find: "error.reason !== 'TOKEN_REFUSED') throw error;",
      replace: "error.reason !== 'SECRET_INVALID') throw error;",
    },
  ],
  caughtBy: {
    file: 'test/core/tickets/tickets.test.ts',
    test: 'P6: is reported, and the call repeated once with a newer one',
  },
};
