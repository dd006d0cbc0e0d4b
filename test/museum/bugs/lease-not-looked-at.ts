import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Each replica that finds a token missing has one made. After a deployment all start at once, and all but the last ' +
    'two of their tokens are dead before anybody has used them.',
  edits: [
    {
      file: 'src/core/cluster/cluster-coordinator.ts',
      find: 'if (record.generation === base && this.#blockingIntent(record)) throw new Blocked();',
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/replicas.test.ts',
    test: 'first Gets at all replicas at once make one token',
  },
};
