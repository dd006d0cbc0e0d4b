import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The cooldown begins only when a refresh has succeeded. While the endpoint is broken nothing has succeeded, ' +
    `so every caller's wish goes through to WeChat: the limit is missing exactly when it is needed.`,
  edits: [
    {
      file: 'src/core/tokens/minting.ts',
      find: 'budget: spend(record.budget, MINTS[call].spends, -1),',
      replace: 'lastForcedAt: Number.NEGATIVE_INFINITY, budget: spend(record.budget, MINTS[call].spends, -1),',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/force.test.ts',
    test: 'counts the cooldown from the attempt, also from one that WeChat refused',
  },
};
