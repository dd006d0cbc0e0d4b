import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A sealed record is opened with as many bytes of its tag as it has. Node takes four, which are guessed in some four billion tries: whoever can write to the store makes records of their own.',
  edits: [
    {
      file: 'src/store/xaes.ts',
      find: "createDecipheriv('aes-256-gcm', this.#keyFor(nonce), nonce.subarray(HALF_NONCE_BYTES), {\n      authTagLength: TAG_BYTES,\n    });",
      replace: "createDecipheriv('aes-256-gcm', this.#keyFor(nonce), nonce.subarray(HALF_NONCE_BYTES));",
    },
  ],
  caughtBy: { file: 'test/store/xaes.test.ts', test: 'a tag that is cut opens nothing' },
};
