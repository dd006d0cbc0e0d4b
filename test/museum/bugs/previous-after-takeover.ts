import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'After a takeover the token before is shown as still honoured. The leader that died may have had WeChat ' +
    'mint in between, and of three tokens WeChat honours two: callers that fall back to the previous one are ' +
    'refused.',
  edits: [
    {
      file: 'src/core/cluster/landing.ts',
      find: 'isDirect && others.length === 0 && after.pendingConfirmation === null && shared.pendingConfirmation === null;',
      replace: 'isDirect;',
    },
  ],
  caughtBy: { file: 'test/simulation/scenes.test.ts', test: 'when the leader stands still before its mint' },
};
