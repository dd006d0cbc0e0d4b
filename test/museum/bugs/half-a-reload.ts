import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A reload takes the parts of a configuration one after the other, logs what cannot be used, and says that it is done. Rules ' +
    'are new and certificates old: a CA that was taken away still lets its holders in, and nobody is told.',
  edits: [
    {
      file: 'src/app/run.ts',
      find: '      const takeTls = prepareTls(next.tls);\n      inUse.take(next);\n      takeTls();',
      replace:
        '      inUse.take(next);\n      try {\n        prepareTls(next.tls)();\n      } catch (error) {\n        report(error);\n      }',
    },
  ],
  caughtBy: {
    file: 'test/app/reload.test.ts',
    test: 'where its certificates cannot be used nothing of it is taken, and that is an error',
  },
};
