import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A listener on loopback answers to any Host. A web page whose name is made to lead to 127.0.0.1 is then of the same ' +
    'origin as the broker, and reads the tokens of whoever has it open.',
  edits: [
    {
      file: 'src/server/guard.ts',
      find: 'const anyHost = !isLocal && hosts.length === 0;',
      replace: 'const anyHost = hosts.length === 0;',
    },
  ],
  caughtBy: {
    file: 'test/server/http-limits.test.ts',
    test: 'reads no token to a page whose name was made to lead here',
  },
};
