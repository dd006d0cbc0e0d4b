import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A refusal that waits for a person is retried like an outage. Each call that WeChat answers with 89503 sends ' +
    `another request to an administrator's phone: a few hundred an hour, until they refuse, which closes the app ` +
    'for a day.',
  edits: [
    {
      file: 'src/core/tokens/backoff.ts',
      find: 'return startedAt + recovery.ms;',
      replace: 'return startedAt + backoffMs(failures, random);',
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'after 89503 waits 600000 ms before it asks again' },
};
