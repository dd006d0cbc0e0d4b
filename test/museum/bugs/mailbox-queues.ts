import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `States queue for a reader that does not read. A watcher that was paused for a day finds a day's rotations ` +
    `before the one that counts, and the broker's memory grows with every slow client until it dies for all.`,
  edits: [
    {
      file: 'src/core/kernel/mailbox.ts',
      find: 'if (this.#first === undefined || this.#key === key) {',
      replace: 'if (this.#first === undefined) {',
    },
    {
      file: 'src/core/kernel/mailbox.ts',
      find: 'this.#others.set(key, message)',
      replace: 'this.#others.set({ key } as K, message)',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/watch.test.ts',
    test: 'P3, P9: a slow reader finds one state per app, and it is the last',
  },
};
