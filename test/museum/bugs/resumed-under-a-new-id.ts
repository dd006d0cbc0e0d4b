import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A message that a killed process left is sent again under an id of its own. WeChat cannot know that it has it already.',
  edits: [
    {
      file: 'src/core/messages/send-operation.ts',
      find: 'resumed: true, sendId, permit });',
      replace: 'resumed: true, sendId: send.sendId, permit });',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/idempotency.test.ts',
    test: 'finds out by client_msg_id within 10 minutes',
  },
};
