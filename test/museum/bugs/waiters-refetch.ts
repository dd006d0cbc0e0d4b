import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Each caller whose wait ends in a failure tries again for itself. Twenty cold callers have been seen to make ' +
    `68 token calls: an outage is answered with a storm that eats the day's quota and lengthens the outage.`,
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'else await abortable(this.#inFlight().completion, signal);',
      replace: `else {
        await abortable(this.#inFlight().completion, signal).catch((error: unknown) => {
          if (++attempts >= 3) throw error;
          this.#tokenHealth.health = { kind: 'well' };
        });
      }`,
    },
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'async obtain(minGeneration: number, signal: AbortSignal | undefined): Promise<TokenState> {',
      replace: `async obtain(minGeneration: number, signal: AbortSignal | undefined): Promise<TokenState> {
    let attempts = 0;`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'asks once for all who wait, though WeChat refuses at once',
  },
};
