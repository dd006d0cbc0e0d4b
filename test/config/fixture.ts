import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';

/** The folder in which every config of these tests pretends to stand. */
export const FOLDER = '/etc/lingpai';

/** Loads a config from text, with other files and an environment that exist only here. */
export function load(
  yaml: string,
  { files = {}, env = {}, now }: { files?: Record<string, string>; env?: NodeJS.ProcessEnv; now?: number } = {},
): Promise<Config> {
  const all: Record<string, string> = { ...files, [`${FOLDER}/lingpai.yaml`]: yaml };
  return loadConfig(`${FOLDER}/lingpai.yaml`, env, {
    async read(path) {
      const text = all[path];
      if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return text;
    },
    adviseOnStore: (url) => (url === 'redis://' ? 'the host is missing' : undefined),
    readKeys: (text) => (text === 'bad' ? { error: 'the keys are bad; mend them' } : { names: text.split(' ') }),
    adviseOnJwks: (text) => (text === 'bad' ? 'the set is bad; mend it' : undefined),
    adviseOnSeal: (text) => (text === 'bad' ? 'the seal is bad; mend it' : undefined),
    ...(now !== undefined && { now: () => now }),
  });
}

/** The error that a config is refused with. */
export async function refusal(...args: Parameters<typeof load>): Promise<ConfigError> {
  try {
    await load(...args);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the config was accepted');
}

/** Each problem as `LINE PATH`, for comparing where problems are. */
export function places(error: ConfigError): string[] {
  return error.problems.map(({ line, path }) => `${line ?? '-'} ${path}`);
}
