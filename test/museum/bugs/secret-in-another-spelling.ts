import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A secret is taken out of an error as it stands in the configuration, and not as it was written into the request. A gateway that repeats the ' +
    'URL it was asked for puts the AppSecret, percent-encoded, into every log and status.',
  edits: [
    {
      file: 'src/wechat/redact.ts',
      find: `    new URLSearchParams({ s: secret }).toString().slice('s='.length),\n`,
      replace: '',
    },
  ],
  caughtBy: { file: 'test/wechat/redact.test.ts', test: 'as URLSearchParams writes it' },
};
