import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'What came of a call while it was found out who makes it stays with the call when that is refused. Nobody reads it, and so HTTP/2 keeps the stream, ' +
    'its connection, and that its peer is gone: a stranger with tokens that are not good fills the memory, and uses up the files that the process may open.',
  edits: [
    {
      file: 'src/server/grpc-entrance.ts',
      find: '      stream.resume();\n      if (hasEnded) stream.push(null);\n      else setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));',
      replace: '      for (const chunk of early) stream.push(chunk);\n      if (hasEnded) stream.push(null);',
    },
  ],
  caughtBy: {
    file: 'test/server/grpc-door.test.ts',
    test: 'a call whose body came before it was not believed leaves nothing',
  },
};
