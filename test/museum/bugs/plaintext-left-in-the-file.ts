import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Records are sealed, and the file is not rewritten. What sqlite has freed stays where it was: each backup of a store that is sealed carries tokens in clear.',
  edits: [
    {
      file: 'src/store/sqlite-raw-records.ts',
      find: "    db.exec('VACUUM');\n",
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/store/sealing.test.ts',
    test: 'no copy of a token is left in the file, its log or its journal (P18)',
  },
};
