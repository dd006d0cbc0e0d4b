import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    `A token's life is measured on the wall clock. Set back by an hour, by a person or by time synchronisation, ` +
    'it makes every token live an hour longer than WeChat lets it.',
  edits: [
    {
      file: 'src/core/tokens/broker.ts',
      find: 'const clock = cluster ? new StoreClock(options.clock) : options.clock;',
      replace: `const wall: Clock = {
      now: () => options.clock.now(),
      monotonic: () => options.clock.now(),
      schedule: (delayMs, fn) => options.clock.schedule(delayMs, fn),
    };
    const clock = cluster ? new StoreClock(options.clock) : wall;`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/restart.test.ts', test: 'a wall clock that is set back lengthens no life' },
};
