import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'With the store away each replica mints for itself, to be on the safe side. Every classic mint ends the ' +
    `token before the last: three replicas kill one another's tokens for as long as the store is away.`,
  edits: [
    {
      file: 'src/core/cluster/shared-tenure.ts',
      find: 'if (error instanceof StoreAwayError) throw this.#storeAway(error, written.intent, wish.call);',
      replace: `if (error instanceof StoreAwayError) return written.intent ?? { epoch: 0, replica: '', time: 0, lost: false };`,
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/replicas.test.ts',
    test: 'a classic token is not minted while the store is away',
  },
};
