import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'What a caller showed is looked for in each piece of a body by itself. Where a piece ends within it, it goes ' +
    'out whole.',
  edits: [
    {
      file: 'src/gateway/mask.ts',
      find: '    const from = bytes.length - this.#begunIn(bytes.subarray(end));',
      replace: '    const from = Math.max(end, bytes.length);',
    },
  ],
  caughtBy: { file: 'test/gateway/mask.test.ts', test: 'wherever it is cut' },
};
