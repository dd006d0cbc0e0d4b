import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A form_id that came back from a message of unknown fate is drawn for another, whose answer is lost too. WeChat says that ' +
    'the form is used, and the broker takes that for the arrival of the second message: the first used it, and the second ' +
    'never came.',
  edits: [
    {
      file: 'src/core/messages/retry-policy.ts',
      find: `permit?.kind === 'form_id' && !permit.doubtful`,
      replace: `permit?.kind === 'form_id'`,
    },
  ],
  caughtBy: {
    file: 'test/core/messages/sender.test.ts',
    test: 'proves nothing by a form that an earlier message of unknown fate may have used',
  },
};
