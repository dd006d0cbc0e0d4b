import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Get trusts that the timer has fired. Where it was lost, or comes late on a busy machine, callers get an ' +
    'expired token with every sign of health.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'const usable = current !== null && current.expiresAt > this.#now() &&',
      replace: 'const usable = current !== null &&',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/restart.test.ts',
    test: 'Get hands out no expired token, though every timer was lost',
  },
};
