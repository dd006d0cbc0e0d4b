import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A gateway that hands out real tokens gives whatever is in memory. An SDK whose token was refused fetches again, which is all that it can tell, and gets the dead one ' +
    'again, for two hours.',
  edits: [
    {
      file: 'src/gateway/token-calls.ts',
      find: 'const state = await this.#report(call, appId, signal, witness).catch(',
      replace: 'const state = await Promise.resolve(broker.get(appId, { signal: () => signal })).catch(',
    },
  ],
  caughtBy: {
    file: 'test/gateway/token-calls.test.ts',
    test: 'replaces one that WeChat refuses, once for all who fetch',
  },
};
