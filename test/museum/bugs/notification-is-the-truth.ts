import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Changes are learnt from pub/sub alone. A subscription that is lost without a word leaves a replica behind ' +
    'for as long as its process lives.',
  edits: [
    {
      file: 'src/core/cluster/cluster.ts',
      find: 'const done = [...seen.values()].map((record) => this.#register(record.app.appId).see(record));',
      replace:
        'const done = from === 0 ? [...seen.values()].map((record) => this.#register(record.app.appId).see(record)) : [];',
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'without hints a replica is one poll behind' },
};
