import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'When a client CA is removed, open connections are looked at, and handshakes that are under way are not. Whoever holds one ' +
    'back finishes it by the CA of before, and is let in for as long as the connection lasts.',
  edits: [
    {
      file: 'src/server/tls.ts',
      find: '    for (const handshake of this.#underWay.values()) this.#end(handshake);\n    this.#distrust(gone);',
      replace: '    this.#distrust(gone);',
    },
  ],
  caughtBy: {
    file: 'test/server/tls.test.ts',
    test: 'is not good by a handshake that was begun while its CA was there, and ends when it has gone',
  },
};
