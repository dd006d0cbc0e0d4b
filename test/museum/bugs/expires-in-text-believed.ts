import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An expires_in that is text is turned into a number. What a broken proxy or a changed API sends becomes a ' +
    'life of NaN, which is neither over nor not over: the token is never refreshed again.',
  edits: [
    {
      file: 'src/wechat/answers.ts',
      find: `if (typeof value !== 'number') throw malformed('with an expires_in that is not a number');`,
      replace: `if (typeof value !== 'number') return Number(value);`,
    },
  ],
  caughtBy: { file: 'test/wechat/answers.test.ts', test: 'refuses expires_in text' },
};
