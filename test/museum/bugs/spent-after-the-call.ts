import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A mint is counted when it has succeeded. A process that crashes in the middle of its call, and is restarted ' +
    `by its supervisor, mints at every start without ever having spent anything: a crash loop eats the day's ` +
    'quota in a minute.',
  edits: [
    {
      file: 'src/core/tokens/calls.ts',
      find: 'const intent = mint && (await this.#begin(mint, base, refresh));',
      replace: '',
    },
    {
      file: 'src/core/tokens/calls.ts',
      find: 'const grant = await withDeadline(clock, this.#settings.timeoutMs, refresh, fetch);',
      replace: `const grant = await withDeadline(clock, this.#settings.timeoutMs, refresh, fetch);
      const intent = mint && (await this.#begin(mint, base, refresh));`,
    },
    {
      file: 'src/core/tokens/calls.ts',
      find: 'if (mint) await this.#end(intent,',
      replace: 'if (mint) await this.#end(undefined,',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/restart.test.ts',
    test: 'P10: a crash loop in the middle of mints keeps within the budget',
  },
};
