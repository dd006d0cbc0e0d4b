import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'base64url is read leniently: bits that are over and characters that are none are skipped. One stand-in then has endlessly many spellings, each good, each ' +
    'verified anew, and each pushing one that is known out of memory.',
  edits: [{ file: 'src/access/stand-in.ts', find: '  if (encode(bytes) !== text) return undefined;\n', replace: '' }],
  caughtBy: { file: 'test/access/stand-in.test.ts', test: 'written in another way' },
};
