import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A token that cannot be stored is thrown away. WeChat has minted it and put its predecessor into its last 5 ' +
    'minutes: with a full disk, or a cache server that restarts, the broker ends with no token at all and burns a ' +
    'mint at every try.',
  edits: [
    {
      file: 'src/core/tokens/local-coordinator.ts',
      find: 'await this.#save(stored);',
      replace: `await this.#save(stored);
      if (this.failing) throw new Error('the store cannot be written');`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'does not lose a token that the store refuses' },
};
