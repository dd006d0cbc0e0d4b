import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A watch of files takes for known what its first look finds. A secret that is replaced after the configuration was read and before that look is never noticed, and the broker goes on with the old one until the file changes once more.',
  edits: [
    {
      file: 'src/config/watch.ts',
      find: '      const print = files.prints[path];\n      if (print !== undefined) seen.set(path, print);',
      replace: '      seen.delete(path);',
    },
  ],
  caughtBy: {
    file: 'test/config/watch.test.ts',
    test: 'notices what changed after it was read and before the first look',
  },
};
