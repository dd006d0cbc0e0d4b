import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    "An operator's refresh that costs no mint starts the cooldown in the memory of its replica alone, and the next record " +
    'that comes from the store takes it away: each operator at each replica has WeChat asked once more.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: "void this.#coordinator.change({ type: 'start_cooldown' });",
      replace: 'this.#record = { ...this.#record, lastForcedAt: now };',
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/cooldown.test.ts',
    test: "the cooldown of an operator's refresh holds at every replica",
  },
};
