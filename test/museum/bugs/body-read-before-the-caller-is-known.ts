import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The body of a call is read before it is known who makes it. Strangers who may do nothing have the server hold and ' +
    'decode what they send, and a call that never sends the rest is never refused.',
  edits: [
    {
      file: 'src/server/http-rpc.ts',
      find: '    const body = (async function* () {\n      try {\n        yield await orLeave(request, response, readBody(request, { share, method, limit }));',
      replace:
        '    const whole = await readBody(request, { share, method, limit });\n    const body = (async function* () {\n      try {\n        yield whole;',
    },
  ],
  caughtBy: { file: 'test/app/doors.test.ts', test: 'on the HTTP port, by Connect: /lingpai.v1.TokenService/Get' },
};
