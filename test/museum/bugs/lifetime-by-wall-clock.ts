import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `A token's life is measured on the wall clock. Set back by an hour, by a person or by time synchronisation, ` +
    'it makes every token live an hour longer than WeChat lets it.',
  edits: [
    {
      file: 'src/core/broker.ts',
      find: 'this.#deps = deps;',
      replace: `const { clock } = deps;
    const wall = { now: () => clock.now(), monotonic: () => clock.now(), schedule: clock.schedule.bind(clock) };
    this.#deps = { ...deps, clock: wall };`,
    },
    {
      file: 'src/core/broker.ts',
      find: 'new Timeline(deps.clock)',
      replace: 'new Timeline(this.#deps.clock)',
    },
  ],
  caughtBy: { file: 'test/core/restart.test.ts', test: 'a wall clock that is set back lengthens no life' },
};
