import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Records are sealed anew in the background, and written without looking whether they are still those that were read. A token that was refreshed meanwhile is replaced by the one before it, which is dead five minutes later.',
  edits: [
    {
      file: 'src/store/sqlite-raw-records.ts',
      find: "'UPDATE app SET record = ? WHERE app_id = ? AND record = ?'",
      replace: "'UPDATE app SET record = ? WHERE app_id = ? AND ? IS NOT NULL'",
    },
  ],
  caughtBy: { file: 'test/store/sealing.test.ts', test: 'is neither swapped nor removed once it is another one' },
};
