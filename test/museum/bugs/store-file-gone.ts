import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'That its file is there is all that is known of an open database. ' +
    'Another that was put in its place is never read, the old one has no name any more, and what was written is lost at the next restart.',
  edits: [
    {
      file: 'src/store/database-file.ts',
      find: "else if (id !== seen) return 'replaced';",
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/store/database-file.test.ts',
    test: 'that the file was replaced shows',
  },
};
