import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Bytes of a request that were kept for a repeat are counted for ever once it turned out to be too long. After a ' +
    'few uploads nothing is kept any more, and calls meet dead tokens that a repeat would have cured.',
  edits: [
    {
      file: 'src/gateway/request-body.ts',
      find: '    this.#budget.give(this.#keptBytes);\n',
      replace: '',
    },
  ],
  caughtBy: { file: 'test/gateway/cure.test.ts', test: 'is not repeated beyond' },
};
