import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `A token's life is measured on the wall clock. Set back by an hour, by a person or by time synchronisation, ` +
    'it makes every token live an hour longer than WeChat lets it.',
  edits: [
    {
      file: 'src/app/broker.ts',
      find: '  const { clock } = deps;',
      replace: `const wall: Clock = {
      now: () => deps.clock.now(),
      monotonic: () => deps.clock.now(),
      schedule: (delayMs, fn) => deps.clock.schedule(delayMs, fn),
    };
    const clock = wall;`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/restart.test.ts', test: 'a wall clock that is set back lengthens no life' },
};
