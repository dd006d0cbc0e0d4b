import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A replica is alive as long as its beats arrive, and its mint is under way as long as it is alive. One whose polls arrive ' +
    'and whose writes do not never says what became of its mint, and a dead token is kept for minutes by all.',
  edits: [
    {
      file: 'src/core/cluster/intents.ts',
      find: 'isOther(intent.replica) && Math.abs(time - intent.time) < longestMs,',
      replace: 'isOther(intent.replica) && Math.abs(time - intent.time) < 8 * longestMs,',
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'cannot write what became of its mint' },
};
