import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A request that is too long to be repeated has its refusal passed on, and the token is left as it is. Each upload ' +
    'from then on meets the same dead token.',
  edits: [
    {
      file: 'src/gateway/passage.ts',
      find: '    const newer = await this.#report(token, errcode);\n',
      replace:
        '    if (!this.#body.isRepeatable) return await this.#answer(first, errcode, [token], false);\n    const newer = await this.#report(token, errcode);\n',
    },
  ],
  caughtBy: { file: 'test/gateway/cure.test.ts', test: 'is not repeated beyond' },
};
