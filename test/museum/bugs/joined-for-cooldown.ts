import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Who asks for a refresh while another replica is at one is refused for the cooldown, which that very mint has begun. ' +
    'Callers of one replica wait for the new token, those of the others get an error for the same request.',
  edits: [
    {
      file: 'src/core/tokens/calls.ts',
      find: 'if (this.#coordinator.isBusy(record)) return;',
      replace: '',
    },
  ],
  caughtBy: {
    file: 'test/core/cluster/replicas.test.ts',
    test: 'who asks for a refresh while another mints waits for it, classic',
  },
};
