import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An error is logged as it is, with all that hangs on it. HTTP clients hang the request on their errors, and ' +
    `WeChat's classic call has the AppSecret in its URL.`,
  edits: [
    {
      file: 'src/ops/log.ts',
      find: `...(typeof code === 'string' ? { code } : {})`,
      replace: '...(error as object)',
    },
  ],
  caughtBy: {
    file: 'test/ops/log.test.ts',
    test: 'P12: errorFields gives words and codes of an error, never what hangs on it',
  },
};
