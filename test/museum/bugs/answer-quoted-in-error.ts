import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An answer that cannot be read is quoted in the error. It was cut off behind the token, so that the token of ' +
    'a whole company is in the log, in the error tracker, and in the status that every watcher sees.',
  edits: [
    {
      file: 'src/wechat/fields.ts',
      find: `throw malformed('text that is not whole JSON')`,
      replace: "throw malformed('text that is not whole JSON: '.concat(body))",
    },
  ],
  caughtBy: { file: 'test/wechat/answers.test.ts', test: 'refuses a cut answer' },
};
