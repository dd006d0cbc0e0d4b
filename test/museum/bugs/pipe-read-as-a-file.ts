import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Whatever can be opened is read as a file. ' +
    'A named pipe gives nothing, or hangs who waits for it, and a device has no end: a reload ends the broker.',
  edits: [
    {
      file: 'src/config/files.ts',
      find: 'if (found.isFile()) return file;',
      replace: 'if (!found.isDirectory()) return file;',
    },
  ],
  caughtBy: {
    file: 'test/config/load.test.ts',
    test: 'is no file to read: pipe',
  },
};
