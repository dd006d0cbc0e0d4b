import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A caller that gives up cancels the refresh for all. One impatient client with a short deadline keeps every ' +
    'other one from ever getting a token, and the mint that WeChat made for it is lost.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'else await abortable(this.#inFlight().completion, signal);',
      replace: `else {
        const refresh = this.#inFlight();
        signal?.addEventListener('abort', () => refresh.abort(signal.reason));
        await abortable(refresh.completion, signal);
      }`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'lets one caller leave without ending the refresh for the others',
  },
};
