import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The token is put where access_token stood each time, and an SDK that sends it twice, or in another case, sends ' +
    'its stand-in along. Which of several counts is for the receiver to say, and what a caller showed is in its logs.',
  edits: [
    {
      file: 'src/gateway/in-place.ts',
      find: '      if (isPlaced) return null;\n      isPlaced = true;',
      replace: '      if (isPlaced) return undefined;\n      isPlaced = true;',
    },
  ],
  caughtBy: { file: 'test/gateway/heads.test.ts', test: 'has the token: once' },
};
