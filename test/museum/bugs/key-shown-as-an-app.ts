import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An SDK was told appid and secret the wrong way round, or the same text twice. It is believed, for the key is good, and denied, for there ' +
    'is no such app: the audit log names the app that was asked for, and that is the key.',
  edits: [{ file: 'src/core/access/audit-line.ts', find: ' && !KEY.test(appId)', replace: '' }],
  caughtBy: { file: 'test/core/access/audit-log.test.ts', test: 'show no app id that can be none' },
};
