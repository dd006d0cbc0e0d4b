import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A token of another issuer than the configured one is replaced as soon as it is seen. In the middle of a rolling change ' +
    'of an app from classic to stable two replicas take themselves for the one that refreshes it, and each replaces what the ' +
    'other brings: hundreds of mints in the seconds until they agree.',
  edits: [
    {
      file: 'src/core/tokens/plan.ts',
      find: "trust === 'dead' || (isSwitched && record.issuer !== issuer)",
      replace: "trust === 'dead' || record.issuer !== issuer",
    },
  ],
  caughtBy: { file: 'test/core/cluster/replicas.test.ts', test: 'each app is moved once' },
};
