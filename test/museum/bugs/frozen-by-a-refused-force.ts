import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'One forced refresh that is refused freezes a stable app. Reads are free and would bring what somebody else has had forced, or what WeChat rotates by itself; without them the dead token is served until its own end, for up to two hours.',
  edits: [
    {
      file: 'src/core/tokens/plan.ts',
      find: `Math.min(plannedAt, now + stablePollMs)`,
      replace: `Math.min(plannedAt, Math.max(current.dueAt, now + stablePollMs))`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/known-dead.test.ts',
    test: "is read at every stable_poll: WeChat's quota of forced calls is spent",
  },
};
