import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `Shutting down aborts the refresh in progress. WeChat has minted, the answer is thrown away, and the broker's ` +
    'successor starts with a token that dies within 5 minutes: at every deployment.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: `if (inProgress === 'abort') this.#refresher.current?.abort(reason);`,
      replace: 'this.#refresher.current?.abort(reason);',
    },
  ],
  caughtBy: { file: 'test/core/tokens/restart.test.ts', test: 'draining waits for the mint in progress and stores it' },
};
