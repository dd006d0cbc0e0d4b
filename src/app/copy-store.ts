import { systemClock } from '../ops/clock.ts';
import { systemRandom } from '../ops/random.ts';
import { type Copied, type CopyOptions, copyStore as copy, type Side } from '../store/copy.ts';
import { Keyring } from '../store/keyring.ts';
import { openStore, type StoreUrl } from '../store/open.ts';

/** A store that a person named. */
export interface NamedStore {
  /** By which flag. */
  readonly flag: string;
  /** What errors call it; without a password. */
  readonly name: string;
  readonly url: StoreUrl;
  /** The keys that open and seal its records, as in `store.seal`. */
  readonly seal: readonly string[];
}

/** Opens two stores, copies all that one keeps to the other, and closes both. Rejects with what stands in the way. */
export async function copyStore(
  from: NamedStore,
  to: NamedStore,
  options: Omit<CopyOptions, 'clock'>,
): Promise<Copied> {
  await using undo = new AsyncDisposableStack();
  const open = async ({ flag, name, url, seal }: NamedStore): Promise<Side> => {
    const onDamage = () => undefined; // reading all of it fails then, too
    const opened = await openStore(url, {
      clock: systemClock,
      random: systemRandom,
      onDamage,
      keyring: Keyring.parse(seal),
    }).catch((error) => {
      // The advice speaks of the setting, and here it is a flag.
      throw error instanceof Error ? new Error(error.message.replaceAll('store.url', flag)) : error;
    });
    undo.defer(() => opened.close());
    return { name, opened };
  };
  return await copy(await open(from), await open(to), { ...options, clock: systemClock });
}
