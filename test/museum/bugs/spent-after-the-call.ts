import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A mint is counted when it has succeeded. A process that crashes in the middle of its call, and is restarted ' +
    `by its supervisor, mints at every start without ever having spent anything: a crash loop eats the day's ` +
    'quota in a minute.',
  edits: [
    {
      file: 'src/core/calls.ts',
      find: 'if (mint) await this.#kept.write(mintBegun(this.#kept.read(), mint, this.#settings));',
      replace: '',
    },
    {
      file: 'src/core/calls.ts',
      find: 'return { ...grant,',
      replace: `if (mint) await this.#kept.write(mintBegun(this.#kept.read(), mint, this.#settings));
      return { ...grant,`,
    },
  ],
  caughtBy: {
    file: 'test/core/restart.test.ts',
    test: 'P10: a crash loop in the middle of mints keeps within the budget',
  },
};
