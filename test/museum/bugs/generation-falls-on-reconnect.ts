import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A watch begins with whatever the server has. A client that reconnects to a broker whose store was rolled ' +
    'back goes from a newer token to an older one, and works until the older one dies.',
  edits: [
    {
      file: 'src/core/tokens/watch.ts',
      find: 'return this.#known.get(appId) === generation ? 0 : this.offer(event);',
      replace: 'if (this.#known.get(appId) !== generation) this.#tell(appId, event);\n    return 0;',
    },
  ],
  caughtBy: { file: 'test/core/tokens/watch.test.ts', test: 'P2: sends nothing older than what the watcher has' },
};
