import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The log is written so that a line is there before the call goes on, whatever that takes. Where nobody reads standard output, since a collector of logs hangs, the pipe is full after a few hundred lines, and the whole broker stands still until somebody reads: no token for anybody.',
  edits: [
    {
      file: 'src/ops/log.ts',
      find: 'options.destination ?? standardLines()',
      replace: 'options.destination ?? pino.destination({ fd: 1, sync: true })',
    },
  ],
  caughtBy: { file: 'test/commands/unread-output.test.ts', test: 'a broker whose output nobody reads serves' },
};
