import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The lease is trusted to fence: a commit under a lost lease is refused, and that is taken to be enough. ' +
    'WeChat knows of no fencing token. The request of a leader that stopped arrives late and makes the newest ' +
    'token, whatever the store says; all subscribers end on one that dies five minutes later.',
  edits: [
    {
      file: 'src/core/cluster/landing.ts',
      find: '  const isClean = isThere && intents.length === 0 && shared.epoch === intent?.epoch;',
      replace: '  const isClean = intent !== undefined;',
    },
    {
      file: 'src/core/cluster/landing.ts',
      find: 'landing.intent && !isRecorded && !isOlder ?',
      replace: 'landing.intent && !isRecorded && isOlder && false ?',
    },
  ],
  caughtBy: { file: 'test/simulation/scenes.test.ts', test: 'when the leader stands still before its mint' },
};
