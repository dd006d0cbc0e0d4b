import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A unary answer is handed to the transport and forgotten. A peer that reads nothing keeps as many answers in memory as ' +
    'it makes calls, for as long as its connection lasts.',
  edits: [
    {
      file: 'src/server/grpc-call.ts',
      find: 'this.rpc.held.set(this, this.#unreadBytes);',
      replace: 'this.rpc.held.delete(this);',
    },
  ],
  caughtBy: { file: 'test/server/grpc-door.test.ts', test: 'an answer that is not read is reset' },
};
