import { dirname, resolve } from 'node:path';
import { parseConfig } from './document.ts';
import { readText, whyUnreadable } from './files.ts';
import { ConfigError } from './problem.ts';

/**
 * The absolute path of the key file that a config file names as `access.keys`; undefined: it names none. The rest of the file may be
 * wrong, and the key file need not be there: this is asked before the first key is made. Rejects with a ConfigError.
 */
export async function keyFilePath(
  path: string,
  read: (path: string) => Promise<string> = readText,
): Promise<string | undefined> {
  const text = await read(path).catch((error: unknown) => {
    throw new ConfigError(path, [{ path: '', message: whyUnreadable(error, 'name the file with --config FILE') }]);
  });
  const { value, problems } = parseConfig(text);
  if (value === undefined && problems.length > 0) throw new ConfigError(path, problems);
  const keys = (value as { access?: { keys?: unknown } | null } | null | undefined)?.access?.keys;
  return typeof keys === 'string' && keys !== '' ? resolve(dirname(path), keys) : undefined;
}
