import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A daily quota that is spent is waited out until it resets. Operators clear quotas, at once, and then look at a broker that does nothing for the rest of the day.',
  edits: [
    {
      file: 'src/core/tokens/backoff.ts',
      find: `QUOTA_FLOOR_MS = 12 * 60_000`,
      replace: `QUOTA_FLOOR_MS = 24 * 3_600_000`,
    },
    {
      file: 'src/core/tokens/backoff.ts',
      find: `QUOTA_CEILING_MS = 15 * 60_000`,
      replace: `QUOTA_CEILING_MS = 24 * 3_600_000`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'asks again within 15 minutes when a daily quota is spent',
  },
};
