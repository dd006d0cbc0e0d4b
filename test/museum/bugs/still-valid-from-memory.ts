import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A verdict is kept for two seconds, and answers those who report in that time. A token that died in between is said to be valid to everyone who has just been refused with it: ten true reports come to nothing.',
  edits: [
    {
      file: 'src/core/keeper.ts',
      find: `readonly #pace = new Pace();`,
      replace: `readonly #pace = new Pace();
  #acceptedAt = Number.NEGATIVE_INFINITY;`,
    },
    {
      file: 'src/core/keeper.ts',
      find: `if (word === 'accepted' && this.#standing.trust === 'trusted')`,
      replace: `if (word === 'accepted') this.#acceptedAt = this.#now();
        if (this.#now() - this.#acceptedAt < 2_000 && this.#standing.trust === 'trusted')`,
    },
  ],
  caughtBy: { file: 'test/core/force.test.ts', test: 'believes no verdict that is older than the report' },
};
