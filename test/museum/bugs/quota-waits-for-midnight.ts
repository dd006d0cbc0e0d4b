import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A daily quota that is spent is waited out until it resets. Operators clear quotas, at once, and then look at a broker that does nothing for the rest of the day.',
  edits: [
    {
      file: 'src/core/kernel/quota-day.ts',
      find: `QUOTA_ASK_AGAIN_MS = 15 * MINUTE_MS`,
      replace: `QUOTA_ASK_AGAIN_MS = 24 * HOUR_MS`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'asks again within 15 minutes when a daily quota is spent',
  },
};
