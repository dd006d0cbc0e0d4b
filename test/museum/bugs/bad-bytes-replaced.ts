import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A body in GBK is read as UTF-8, and each byte that is none becomes U+FFFD. Nobody is told, and users are sent ' +
    'messages full of question marks.',
  edits: [
    {
      file: 'src/server/http-body.ts',
      find: 'if (/^application\\/json\\b/i.test(type)) requireUtf8(body);',
      replace: 'if (type === "") requireUtf8(body);',
    },
  ],
  caughtBy: { file: 'test/server/http.test.ts', test: 'refuses JSON that is not UTF-8, and says where' },
};
