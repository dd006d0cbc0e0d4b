import { adviseOnJwks } from '../access/jwks.ts';
import { parseKeys } from '../access/key-file.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { ConfigError } from '../config/problem.ts';
import { systemClock } from '../ops/clock.ts';
import { Keyring } from '../store/keyring.ts';
import { parseStoreUrl } from '../store/open.ts';
import { parseKey } from '../store/seal-key.ts';

/** Reads a config file, with all that can be known of it without using it. Rejects with a ConfigError. */
export async function load(path: string): Promise<Config> {
  const config = await loadConfig(path, process.env, {
    adviseOnStore(url) {
      const parsed = parseStoreUrl(url);
      return 'error' in parsed ? parsed.error : undefined;
    },
    adviseOnJwks,
    adviseOnSeal(text) {
      const parsed = parseKey(text);
      return 'error' in parsed ? parsed.error : undefined;
    },
    readKeys(text) {
      try {
        return { names: parseKeys(text).map(({ name }) => name) };
      } catch (error) {
        return { error: messageOf(error) };
      }
    },
    now: () => systemClock.now(),
  });
  try {
    Keyring.parse(config.store.seal);
  } catch (error) {
    throw new ConfigError(path, [{ path: '', message: messageOf(error) }]);
  }
  return config;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
