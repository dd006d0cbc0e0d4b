import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'What a server says is printed as it came. ' +
    'With escapes and line feeds it clears the screen, hides lines and writes others in the name of the command.',
  edits: [
    {
      file: 'src/commands/output.ts',
      find: 'printable(text)}',
      replace: 'text}',
    },
  ],
  caughtBy: {
    file: 'test/commands/output.test.ts',
    test: 'is shown instead, and nothing else is',
  },
};
