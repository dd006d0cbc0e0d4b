import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A token is published before it is stored. A crash in between leaves clients with a token and a generation of ' +
    'which the broker knows nothing: it serves them the one before, and everyone goes back in time.',
  edits: [
    {
      file: 'src/core/tokens/local-coordinator.ts',
      find: 'await this.#save(stored);',
      replace: 'void this.#save(stored);',
    },
  ],
  caughtBy: { file: 'test/core/tokens/restart.test.ts', test: 'P10: a token is durable before anyone sees it' },
};
