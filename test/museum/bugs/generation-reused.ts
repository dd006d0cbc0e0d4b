import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A generation is the last one plus one. After the store was lost or restored from a backup, numbers come back ' +
    'that clients have already seen with other tokens: they take the new token for an old one and never adopt it.',
  edits: [
    {
      file: 'src/core/tokens/commit.ts',
      find: 'Math.max(record.generation + context.generationStep, Math.floor(context.wallNow))',
      replace: 'record.generation + 1',
    },
  ],
  caughtBy: { file: 'test/core/tokens/restart.test.ts', test: 'P2: the generation never falls' },
};
