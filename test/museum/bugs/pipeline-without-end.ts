import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Every request that a connection pipelines is begun at once. One peer sends a thousand in a packet, and all others ' +
    'wait until they are answered.',
  edits: [
    {
      file: 'src/server/http-sockets.ts',
      find: 'if (admitted.unanswered >= MAX_UNANSWERED) {',
      replace: 'if (admitted.unanswered > Number.MAX_SAFE_INTEGER - MAX_UNANSWERED) {',
    },
  ],
  caughtBy: {
    file: 'test/server/http-limits.test.ts',
    test: 'is reset when it has more than 16 requests unanswered, and no more than these are begun',
  },
};
