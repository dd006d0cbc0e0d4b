import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'What the store says is believed, even when it came back older. After a failover to a lagging copy every ' +
    'replica goes back to a token that died long ago, and generations fall.',
  edits: [
    {
      file: 'src/core/cluster/shared-record.ts',
      find: 'if (isBehind(this.#seen, known)) {',
      replace: 'if (isBehind(this.#seen, known) && known.generation < 0) {',
    },
    {
      file: 'src/core/cluster/shared-record.ts',
      find: 'if (record.generation < generation) {',
      replace: 'if (record.generation < generation && generation < 0) {',
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'the store goes back in time' },
};
