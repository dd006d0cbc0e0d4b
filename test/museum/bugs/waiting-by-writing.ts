import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A replica that waits for a message of another one writes while it waits. Each look at the key is a begin, a transaction ' +
    'of its own: up to 240 for one message, on the disk that the sending replica needs to settle it.',
  edits: [
    {
      file: 'src/core/messages/send-operation.ts',
      find: 'begun = (await ledger.lookup(send)) ?? (await ledger.begin(send));',
      replace: 'begun = await ledger.begin(send);',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/elsewhere.test.ts',
    test: 'is looked up until that has settled it, and what became of it is answered',
  },
};
