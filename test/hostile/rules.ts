import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keyFile, makeKey } from '../support/access-key.ts';
import type { Settings } from './attack.ts';
import { APP, OTHER } from './siege.ts';

/** Who the polite client is where rules are, and a caller whom they allow little. */
export const POLITE = makeKey('polite');
export const CALLER = makeKey('caller');

/** The section `access` with rules for these two and whom else they are to allow OTHER; `more` of it. */
export function rules(more: object = {}, others: readonly string[] = []): Settings {
  const all = [
    { who: ['key:polite'], may: ['read'], apps: [APP] },
    { who: ['key:polite'], may: ['status'], apps: ['*'] },
    { who: ['key:caller', ...others], may: ['read'], apps: [OTHER] },
  ];
  return { access: { keys: 'lingpai.keys', rules: all, ...more } };
}

/** Writes the file of keys. */
export async function fillKeys(_: string, folder: string): Promise<void> {
  await writeFile(join(folder, 'lingpai.keys'), keyFile(POLITE, CALLER), { mode: 0o600 });
}
