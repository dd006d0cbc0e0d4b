import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The last known token is shown as the previous one though a mint between was lost. WeChat honours only the ' +
    'token directly before the newest: the one that is shown has been dead all the time of its grace.',
  edits: [
    {
      file: 'src/core/tokens/commit.ts',
      find: '|| !context.previousIsHonoured) return null;',
      replace: ') return null;',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/force.test.ts',
    test: 'does not show a token as previous that a lost mint has displaced',
  },
};
