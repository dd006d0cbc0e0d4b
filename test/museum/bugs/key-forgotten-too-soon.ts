import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A key is forgotten when its callers are answered, though the disk was full and the outcome is not written yet. The next ' +
    'call with the key finds a message of unknown fate where the one before was told that it had arrived.',
  edits: [
    {
      file: 'src/core/messages/sender.ts',
      find: 'done.then(({ over }) => over).then(forget, forget);',
      replace: 'done.then(forget, forget);',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/crash.test.ts',
    test: 'after the call: the caller is told the truth once, and the record is repeated until it is there',
  },
};
