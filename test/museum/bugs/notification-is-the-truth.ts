import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Changes are learnt from pub/sub alone. A subscription that is lost without a word leaves a replica behind ' +
    'for as long as its process lives.',
  edits: [
    {
      file: 'src/core/cluster/cluster.ts',
      find: 'const done = [...seen.values()].map((versioned) => this.#sharedRecord(versioned.app.appId).see(versioned));',
      replace:
        'const done = from === 0 ? [...seen.values()].map((versioned) => this.#sharedRecord(versioned.app.appId).see(versioned)) : [];',
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'without hints a replica is one poll behind' },
};
