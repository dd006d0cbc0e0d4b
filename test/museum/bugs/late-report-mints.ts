import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A late report of an older token mints. After a rotation the last few callers still fail with the old token ' +
    'and say so: each of their reports, taken for one of the current token, kills a fresh token, which makes more ' +
    `callers fail, until the day's quota is gone.`,
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: `if (isOld(rejected, state, isSure)) return { state, outcome: 'ALREADY_NEWER' };`,
      replace: 'if (isOld(rejected, state, isSure)) this.#mint(true);',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/force.test.ts',
    test: 'a late report of an older token costs nothing, also when the cooldown is over',
  },
};
