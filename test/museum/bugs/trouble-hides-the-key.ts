import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'While the circuit breaker is open a repeated idempotency key is answered with its failure, which says "not sent" of a message ' +
    'that was. The caller sends it by another way, and the user has it twice.',
  edits: [
    {
      file: 'src/core/messages/send-operation.ts',
      find: 'const known = this.#begun ? undefined : await this.#known(error);',
      replace: 'const known = this.#begun || error instanceof LingpaiError ? undefined : await this.#known(error);',
    },
  ],
  caughtBy: {
    file: 'test/core/messages/idempotency.test.ts',
    test: 'also when the circuit breaker is open',
  },
};
