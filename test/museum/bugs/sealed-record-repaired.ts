import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A record that cannot be opened is taken for one that is damaged, and written over. One replica with a wrong key destroys the tokens of all the others.',
  edits: [
    {
      file: 'src/store/redis/store.ts',
      find: '    const { records, sealed } = await this.#sound([[appId, found]]);\n    if (sealed[0]) return { stored: false, found: null, sealed: sealed[0], time };\n',
      replace: '    const { records } = await this.#sound([[appId, found]]);\n',
    },
  ],
  caughtBy: { file: 'test/store/sealing.test.ts', test: 'overwrites no record, whatever it calls (P18)' },
};
