import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A replica judges another dead by the time since it last saw its beat. One that was itself stopped, for a ' +
    'backup of its virtual machine or by a long garbage collection, wakes up and takes everybody for dead at ' +
    'once.',
  edits: [
    {
      file: 'src/core/cluster/members.ts',
      find: 'Math.min(now - this.#lookedAt, this.#longestGapMs)',
      replace: 'now - this.#lookedAt',
    },
  ],
  caughtBy: { file: 'test/core/cluster/members.test.ts', test: 'is not judged by one that did not look' },
};
