import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    "An operator's refresh that costs no mint starts no cooldown that is stored: each operator at each replica has WeChat " +
    'asked once more.',
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: "void coordinator.change({ type: 'start_cooldown' });",
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/cooldown.test.ts',
    test: "the cooldown of an operator's refresh holds at every replica",
  },
};
