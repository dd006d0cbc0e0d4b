import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A credential is looked at when the head of a call comes, and never again. Whoever is revoked holds calls open whose ' +
    'bodies it sends later, and has tokens, and mints, long after it was shut out.',
  edits: [
    {
      file: 'src/rpc/guarded.ts',
      find: '    access.requireCredential(call);\n    requireNeed(',
      replace: '    requireNeed(',
    },
  ],
  caughtBy: { file: 'test/rpc/revocation.test.ts', test: 'Get is refused, and does nothing' },
};
