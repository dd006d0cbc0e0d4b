import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A health watch is remembered when it begins, and not forgotten when its caller leaves. A load balancer that connects ' +
    'anew every minute fills the memory in weeks, a stranger within seconds.',
  edits: [
    { file: 'src/rpc/health-service.ts', find: 'this.#watchers.delete(watcher);', replace: 'void this.#watchers;' },
  ],
  caughtBy: {
    file: 'test/rpc/health-service.test.ts',
    test: 'of an unknown name says so, stays open, and leaves nothing behind',
  },
};
