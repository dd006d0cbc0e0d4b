import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { systemClock } from '../ops/clock.ts';
import { parseStoreUrl } from '../store/open.ts';

/** Reads a config file, with all that can be known of it without using it. Rejects with a ConfigError. */
export function load(path: string): Promise<Config> {
  return loadConfig(path, process.env, {
    adviseOnStore(url) {
      const parsed = parseStoreUrl(url);
      return 'error' in parsed ? parsed.error : undefined;
    },
    now: () => systemClock.now(),
  });
}
