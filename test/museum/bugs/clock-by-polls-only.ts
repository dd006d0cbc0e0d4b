import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Replicas learn what time it is by their polls, and records reach them sooner. When the clock that they share is set ' +
    'forward, each takes for expired what the other has just minted by its own time, and mints anew: dozens of tokens in the ' +
    'two seconds until all have polled.',
  edits: [
    {
      file: 'src/core/cluster/cluster.ts',
      find: 'const { records, sealed = [] } = await this.#dated(() => this.#deps.store.read(appIds));',
      replace: 'const { records, sealed = [] } = await this.#deps.store.read(appIds);',
    },
    {
      file: 'src/core/cluster/cluster.ts',
      find: 'read: (appIds) => this.#dated(() => store.read(appIds)),',
      replace: 'read: (appIds) => store.read(appIds),',
    },
    {
      file: 'src/core/cluster/cluster.ts',
      find: 'replace: (...change) => this.#dated(() => store.replace(...change)),',
      replace: 'replace: (...change) => store.replace(...change),',
    },
  ],
  caughtBy: { file: 'test/simulation/scenes.test.ts', test: 'when the clock of the store is set forward, or back' },
};
