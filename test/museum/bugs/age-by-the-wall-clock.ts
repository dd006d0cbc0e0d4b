import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The age of a message is read from the wall clock. The clock is set back while its answer is lost, the message looks young ' +
    'for another hour, and is repeated after WeChat has forgotten its client_msg_id: it arrives twice.',
  edits: [
    {
      file: 'src/core/messages/send-operation.ts',
      find: 'const ageMs = () => latestNow() - startedAt;',
      replace: 'const ageMs = () => clock.now() - send.now;',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/sender.test.ts',
    test: 'is not repeated too late because the clock was set back',
  },
};
