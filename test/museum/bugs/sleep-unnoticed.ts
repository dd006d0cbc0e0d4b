import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Time that the machine slept does not count. Monotonic time stands still in a suspended laptop or a paused ' +
    'virtual machine: on waking, Get hands out a token that died hours ago, until the next sweep comes by.',
  edits: [
    {
      file: 'src/core/kernel/timeline.ts',
      find: 'return Math.abs(this.#drift()) >= JUMP_MS;',
      replace: 'return false;',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/restart.test.ts',
    test: 'after three hours of sleep no expired token is handed out, not even before the sweep',
  },
};
