import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Who reports a token joins whatever is being asked about it. A probe that left before the token died comes back with good news of the past, and the report is answered with it.',
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: `probe.number > came && `,
      replace: ``,
    },
  ],
  caughtBy: { file: 'test/core/tokens/force.test.ts', test: 'nor one that was on its way when the report came' },
};
