import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Each fetch of a real token counts as a report that WeChat refused it. Where WeChat does not say whether it is good, its quota of such questions spent, two services ' +
    'that start are believed: a good token is replaced, and at the pace of the cooldown the next ones too, while those who hold the ones before are refused.',
  edits: [
    {
      file: 'src/gateway/token-calls.ts',
      find: "wish.isReport ? 'caller' : 'nobody'",
      replace: "'caller'",
    },
  ],
  caughtBy: {
    file: 'test/gateway/token-calls.test.ts',
    test: 'replaces no good one where WeChat does not say',
  },
};
