import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'One port asks who calls, and the other does not. Whoever may not read a token over gRPC has it by curl, and the ' +
    'metrics, which name every app, are open to all.',
  edits: [
    {
      file: 'src/server/http.ts',
      find: 'rpcs(options, answers)], options);',
      replace: 'rpcs(options, answers)], { clock });',
    },
  ],
  caughtBy: { file: 'test/app/doors.test.ts', test: 'on the HTTP port, in no form that it takes: /metrics' },
};
