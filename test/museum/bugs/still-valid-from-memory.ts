import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A verdict is kept for two seconds, and answers those who report in that time. A token that died in between is said to be valid to everyone who has just been refused with it: ten true reports come to nothing.',
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: `readonly #limiter = new RateLimiter(ASKING);`,
      replace: `readonly #limiter = new RateLimiter(ASKING);
  #acceptedAt = Number.NEGATIVE_INFINITY;`,
    },
    {
      file: 'src/core/tokens/force.ts',
      find: `if (word === 'accepted' && tokenHealth.trust === 'trusted')`,
      replace: `if (word === 'accepted') this.#acceptedAt = this.#now();
        if (this.#now() - this.#acceptedAt < 2_000 && tokenHealth.trust === 'trusted')`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/force.test.ts', test: 'believes no verdict that is older than the report' },
};
