import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    "A call is looked at before its caller's right is. Who may read nothing at all learns, by the error that comes, which apps there are.",
  edits: [
    {
      file: 'src/rpc/guarded.ts',
      find: '    requireNeed(access, call, need, request);\n    return method(request, context);',
      replace:
        '    const answer = method(request, context);\n    requireNeed(access, call, need, request);\n    return answer;',
    },
  ],
  caughtBy: { file: 'test/rpc/method-rights.test.ts', test: 'Get, byte for byte' },
};
