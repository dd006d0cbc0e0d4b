import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A redirect is passed on as WeChat wrote it, with the query that it was asked with. The real token is then with ' +
    'whoever called, and with the place that the redirect leads to.',
  edits: [
    {
      file: 'src/gateway/heads.ts',
      find: 'kept.push(name, withoutSecrets(value, secrets));',
      replace: 'kept.push(name, value);',
    },
  ],
  caughtBy: { file: 'test/gateway/heads.test.ts', test: 'is a redirect, not followed, and without the token' },
};
