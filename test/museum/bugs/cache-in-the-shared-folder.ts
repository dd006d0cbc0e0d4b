import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Compiled code is cached in the shared temporary folder. ' +
    'Whoever made the folder there first has his code run by the process that holds every AppSecret.',
  edits: [
    {
      file: 'src/lingpai.js',
      find: 'if (folder !== undefined) module.enableCompileCache(folder)',
      replace: 'module.enableCompileCache(folder)',
    },
  ],
  caughtBy: {
    file: 'test/compile-cache.test.ts',
    test: 'is what the command uses, and nothing in the shared temporary folder is',
  },
};
