import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The confirming mint is crossed off when it begins. When it fails, or its process dies, nobody remembers ' +
    'that the order of two tokens is still unknown.',
  edits: [
    {
      file: 'src/core/cluster/intents.ts',
      find: 'return { record: withShared(record, { epoch, intents: [...open, intent] }), intent };',
      replace:
        'return { record: withShared(record, { epoch, intents: [intent], pendingConfirmation: null }), intent };',
    },
  ],
  caughtBy: { file: 'test/simulation/scenes.test.ts', test: 'when the leader stands still before its mint' },
};
