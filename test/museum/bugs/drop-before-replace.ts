import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The old token is dropped before the new one is in hand. The libraries that delete their cache entry and then ' +
    'fetch do it at every rotation: for as long as WeChat takes to answer, or until it recovers from an outage, ' +
    'every caller fails though the token it had is good.',
  edits: [
    {
      file: 'src/core/tokens/force.ts',
      find: 'this.#refresher.replace(isUsable ? owner.read().current?.value : undefined);',
      replace: `this.#refresher.replace(isUsable ? owner.read().current?.value : undefined);
    Object.assign(owner.read(), { current: null });
    owner.publish();`,
    },
  ],
  caughtBy: {
    file: 'test/core/tokens/refresh.test.ts',
    test: 'serves the old token whole while the refresh is on its way',
  },
};
