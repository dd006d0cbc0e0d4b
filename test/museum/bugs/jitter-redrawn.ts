import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The jitter is drawn anew at each look at the clock. Of many draws one is early, so that every app is ' +
    'refreshed at the earliest moment that the jitter allows: all of them together, which the jitter was there to ' +
    'prevent.',
  edits: [
    {
      file: 'src/core/tokens/keeper.ts',
      find: 'const facts = { record: this.#record, health,',
      replace: `const { current } = this.#record;
    const drawn = current && dueAt(current, this.#record.issuer, this.#settings, this.#deps.random());
    const record = { ...this.#record, current: current && { ...current, dueAt: drawn ?? 0 } };
    const facts = { record, health,`,
    },
  ],
  caughtBy: { file: 'test/core/tokens/refresh.test.ts', test: 'is drawn once per generation' },
};
