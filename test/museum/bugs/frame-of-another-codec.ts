import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The bytes of a message that many are told are kept by the message alone: whoever asks for it as JSON is sent the ' +
    'binary that somebody else was sent before, or the other way round. A page in a browser, or a library over HTTP, fails ' +
    'on a rotation, and only while a gRPC client watches the same app.',
  edits: [
    {
      file: 'src/server/codec.ts',
      find: 'proto: new WeakMap(), json: new WeakMap() };',
      replace: 'json: new WeakMap() } as never;\nframes.proto = frames.json;',
    },
  ],
  caughtBy: { file: 'test/server/http-stream.test.ts', test: 'is encoded once for each codec' },
};
