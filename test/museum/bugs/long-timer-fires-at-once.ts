import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A delay of more than 24 days is given to setTimeout. It takes what does not fit into 31 bits for 1 ms: what ' +
    'was to happen next month happens now, and again as often as it is planned.',
  edits: [
    {
      file: 'src/ops/clock.ts',
      find: 'setTimeout(wake, Math.min(Math.ceil(leftMs), LONGEST_MS))',
      replace: 'setTimeout(fn, leftMs)',
    },
  ],
  caughtBy: { file: 'test/ops/clock.test.ts', test: 'after 90 days' },
};
