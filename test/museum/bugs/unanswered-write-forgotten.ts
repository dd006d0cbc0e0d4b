import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A write to which no answer came is taken for one that was not made. The intent that it left behind is a ' +
    'lease of a replica that lives and does nothing, and nobody refreshes the app any more.',
  edits: [
    {
      file: 'src/core/cluster/shared-record.ts',
      find: `        this.#isUnsure = true; // it may be stored all the same
`,
      replace: '',
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'a write without an answer leaves no lease behind' },
};
