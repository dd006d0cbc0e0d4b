import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The jitter is drawn anew at each look at the clock. Of many draws one is early, so that every app is ' +
    'refreshed at the earliest moment that the jitter allows: all of them together, which the jitter was there to ' +
    'prevent.',
  edits: [
    {
      file: 'src/core/keeper.ts',
      find: 'const facts = { kept: this.#kept, health,',
      replace: `const { current } = this.#kept;
    const drawn = current && dueAt(current, this.#kept.issuer, this.#settings, this.#deps.random());
    const kept = { ...this.#kept, current: current && { ...current, dueAt: drawn ?? 0 } };
    const facts = { kept, health,`,
    },
  ],
  caughtBy: { file: 'test/core/refresh.test.ts', test: 'is drawn once per generation' },
};
