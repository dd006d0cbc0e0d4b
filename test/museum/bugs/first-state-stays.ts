import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A mailbox that is full refuses what is newer. The slow reader gets the state that was the news when it fell ' +
    'behind, takes it for the present one, and hears of the real one at the next rotation: an hour with a dead ' +
    'token.',
  edits: [
    {
      file: 'src/core/kernel/mailbox.ts',
      find: 'if (this.#first === undefined || this.#key === key) {',
      replace: `if (this.#first !== undefined && this.#key === key) return;
    if (this.#first === undefined) {`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/watch.test.ts',
    test: 'P3, P9: a slow reader finds one state per app, and it is the last',
  },
};
