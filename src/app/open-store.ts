import type { Config } from '../config/config.ts';
import { systemClock } from '../ops/clock.ts';
import { errorFields, type Logger } from '../ops/log.ts';
import { systemRandom } from '../ops/random.ts';
import { Keyring } from '../store/keyring.ts';
import { type Opened, openStore as open, parseStoreUrl } from '../store/open.ts';

/** Opens the configured store. Records that cannot be read are logged and left out. Rejects with what is wrong with it. */
export async function openStore(config: Config, logger: Logger): Promise<Opened> {
  const url = parseStoreUrl(config.store.url);
  if ('error' in url) throw new Error(`store.url: ${url.error}`);
  const onDamage = (error: Error) => logger.error(errorFields(error), 'a stored record cannot be read');
  const keyring = Keyring.parse(config.store.seal);
  return await open(url, { clock: systemClock, random: systemRandom, onDamage, keyring });
}
