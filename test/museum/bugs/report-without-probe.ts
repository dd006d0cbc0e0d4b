import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `A caller's word is enough to replace a token. A client that maps every error to an expired token, or one ` +
    `that has the wrong app's token, then burns the day's quota and puts everyone's good token into its last 5 ` +
    'minutes.',
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: `this.#refresher.ask('report')`,
      replace: 'this.#mint(isUsable)',
    },
  ],
  caughtBy: { file: 'test/core/tokens/force.test.ts', test: 'asks WeChat first: a token that works stays' },
};
