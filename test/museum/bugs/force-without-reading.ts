import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A dead stable token is replaced by force without a look at what WeChat has. WeChat may hold a new token ' +
    'already; the force kills that one for everybody else who reads it, and only 20 of them are allowed a day.',
  edits: [
    {
      file: 'src/core/tokens/issuing.ts',
      find: 'isReadable && renewed.value === dead',
      replace: 'isReadable',
    },
  ],
  caughtBy: { file: 'test/core/tokens/force.test.ts', test: 'takes what a read returns when that is another token' },
};
