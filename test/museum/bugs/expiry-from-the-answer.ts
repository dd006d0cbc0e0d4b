import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The life of a token is counted from when its answer arrived. WeChat counts from when it minted: behind a ' +
    'slow network the token is handed out as good for seconds in which WeChat refuses it.',
  edits: [
    {
      file: 'src/core/tokens/commit.ts',
      find: 'expiresAt: issued.sentAt + issued.lifetimeMs',
      replace: 'expiresAt: issued.answeredAt + issued.lifetimeMs',
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'counts the life of a token from before the request left',
  },
};
