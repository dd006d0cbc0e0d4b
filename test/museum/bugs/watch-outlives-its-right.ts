import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Rights are looked at when a watch is opened, and never again. Who loses an app by a change of the rules is sent each new token of it for as long as the connection holds, which may be months.',
  edits: [
    {
      file: 'src/core/access/access.ts',
      find: "if (change === 'rights') follower.check();",
      replace: "if (change === 'rights' && !isStream) follower.check();",
    },
  ],
  caughtBy: { file: 'test/core/access/access.test.ts', test: 'ends when a rule no longer allows it, and others go on' },
};
