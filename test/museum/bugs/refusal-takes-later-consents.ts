import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A message that found no consent voids all that the ledger has of the user, those too that the user gave while it was on ' +
    'its way. Messages that the user asked for are never sent.',
  edits: [
    {
      file: 'src/store/permits.ts',
      find: 'AND others.collect_time <= ?',
      replace: 'AND others.collect_time <= ? + 1e15',
    },
  ],
  caughtBy: {
    file: 'test/store/ledger.test.ts',
    test: 'a consent that was collected after the send began survives its refusal',
  },
};
