import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'An answer that breaks off on its way from WeChat is ended cleanly towards the client. A part of a download ' +
    'is then kept as the whole, and nobody ever learns of it.',
  edits: [
    {
      file: 'src/gateway/passage.ts',
      find: "    this.#response.off('close', this.#onClose);\n    this.#response.destroy();",
      replace: "    this.#response.off('close', this.#onClose);\n    this.#response.end();",
    },
  ],
  caughtBy: {
    file: 'test/gateway/bodies.test.ts',
    test: 'that breaks off breaks the connection of the client: chunks',
  },
};
