import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A control port takes JSON whatever its content-type says. Any web page may send a form of text/plain there without ' +
    'asking, and whoever has the page open finds the tokens of a test killed.',
  edits: [
    {
      file: 'src/sandbox/guard.ts',
      find: "if (method === 'POST' && !/^application\\/json\\b/i.test(headers['content-type'] ?? ''))",
      replace: "if (method === 'POST' && headers['content-type'] === '')",
    },
  ],
  caughtBy: { file: 'test/sandbox/control.test.ts', test: 'with a form change nothing' },
};
