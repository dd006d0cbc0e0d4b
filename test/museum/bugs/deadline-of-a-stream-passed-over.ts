import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The deadline of a stream only aborts a signal that its handler does not look at. A caller that waits no longer, and ' +
    'whose connection a proxy keeps open, is told of rotations for as long as the proxy lives.',
  edits: [
    {
      file: 'src/server/http-stream.ts',
      find: 'this.waitAtMost(this.#format.timeoutMs(this.headers));',
      replace: 'this.#format.timeoutMs(this.headers);',
    },
  ],
  caughtBy: { file: 'test/server/http-stream.test.ts', test: 'ends a stream of connect+json with Connect-Timeout-Ms' },
};
