import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'What the client still sends of a request that has been answered is not read. Its next call stands behind ' +
    'that body on the connection, and is never heard.',
  edits: [
    {
      file: 'src/gateway/request-body.ts',
      find: "  socket.once('close', end);\n  request.resume();",
      replace: "  socket.once('close', end);\n  request.pause();",
    },
  ],
  caughtBy: { file: 'test/gateway/bodies.test.ts', test: 'WeChat answers and reads no more' },
};
