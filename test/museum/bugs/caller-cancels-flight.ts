import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A caller that gives up cancels the refresh for all. One impatient client with a short deadline keeps every ' +
    'other one from ever getting a token, and the mint that WeChat made for it is lost.',
  edits: [
    {
      file: 'src/core/keeper.ts',
      find: 'else await join(this.#inFlight().landing, signal);',
      replace: `else {
        const flight = this.#inFlight();
        signal?.addEventListener('abort', () => flight.abort(signal.reason));
        await join(flight.landing, signal);
      }`,
    },
  ],
  caughtBy: {
    file: 'test/core/refresh.test.ts',
    test: 'lets one caller leave without ending the flight for the others',
  },
};
