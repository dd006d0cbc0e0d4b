import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Records are written anew by the first key of the list, and `plain` may be the first. A replica that is restarted a step behind ' +
    'the others takes the seal from every record, and the backup of that minute has all tokens in clear.',
  edits: [
    {
      file: 'src/store/resealing.ts',
      find: 'key === sealing || sealing === PLAIN ? undefined :',
      replace: 'key === sealing ? undefined :',
    },
  ],
  caughtBy: { file: 'test/store/resealing.test.ts', test: 'a replica that is a step behind takes no seal away' },
};
