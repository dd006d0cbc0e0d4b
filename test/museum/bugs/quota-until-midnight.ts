import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A quota that is spent is believed to be spent until it resets. Operators clear quotas (clear_quota), and WeChat then ' +
    'takes messages at once: the server goes on refusing them until midnight.',
  edits: [
    {
      file: 'src/core/messages/circuit-breaker.ts',
      find: 'const again = wallNow + QUOTA_ASK_AGAIN_MS;',
      replace: 'const again = Number.POSITIVE_INFINITY;',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/limits.test.ts',
    test: 'opens at 45009 for a quarter of an hour, for all who wait too, and then one message probes',
  },
};
