import { existsSync } from 'node:fs';
import { systemClock } from '../ops/clock.ts';
import { systemRandom } from '../ops/random.ts';
import { type Copied, copyStore, type Side, type Tally } from '../store/copy.ts';
import { openStore, parseStoreUrl, type StoreUrl } from '../store/open.ts';
import { Failure } from './exit.ts';
import { givenPath } from './given-path.ts';
import type { Io } from './io.ts';
import { complain, jsonLine, print } from './output.ts';

/** `lingpai store copy`: all that one store keeps, to another. */
export async function storeCopy(
  options: { from: string; to: string; force?: boolean; json?: boolean },
  io: Io,
): Promise<void> {
  const { json = false, force = false } = options;
  const [from, to] = [readUrl('--from', options.from, io), readUrl('--to', options.to, io)];
  if (from.kind === 'sqlite' && !existsSync(from.path)) throw new Failure(`--from: there is no file ${from.path}`, 2);
  if (nameOf(from) === nameOf(to)) throw new Failure('--from and --to are the same store', 2);
  await using undo = new AsyncDisposableStack();
  const open = async (flag: string, url: StoreUrl): Promise<Side> => {
    const onDamage = () => undefined; // reading all of it fails then, too
    const opened = await openStore(url, { clock: systemClock, random: systemRandom, onDamage }).catch((error) => {
      // The advice speaks of the setting, and here it is a flag.
      throw error instanceof Error ? new Error(error.message.replaceAll('store.url', flag)) : error;
    });
    undo.defer(() => opened.close());
    return { name: nameOf(url), opened };
  };
  try {
    const copied = await copyStore(await open('--from', from), await open('--to', to), {
      force,
      clock: systemClock,
      onWait: (name, ms) => complain(waitText(name, ms), io),
    });
    print(json ? jsonLine(copied) : copiedText(copied), io);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (json) print(jsonLine({ error: { message } }), io);
    throw new Failure(message);
  }
}

function waitText(name: string, ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return `${name}: replicas have left their names; looking for ${seconds} s whether one still runs\n`;
}

function readUrl(flag: string, text: string, io: Io): Exclude<StoreUrl, { kind: 'memory' }> {
  const url = parseStoreUrl(text);
  if ('error' in url) throw new Failure(`${flag}: ${url.error}`, 2);
  if (url.kind === 'memory') throw new Failure(`${flag}: "memory:" is empty whenever it is opened`, 2);
  return url.kind === 'sqlite' ? { ...url, path: givenPath(url.path, { cwd: io.cwd() }) } : url;
}

/** Without a password. */
function nameOf(url: StoreUrl): string {
  switch (url.kind) {
    case 'memory':
      return 'memory:';
    case 'sqlite':
      return url.path;
    case 'redis':
      return `${url.name} (prefix ${url.prefix})`;
  }
}

function copiedText({ apps, permits, keys, counts }: Copied): string {
  const line = (name: string, { found, copied }: Tally) => {
    const rest = found > copied ? `, ${found - copied} were there already` : '';
    return `${name.padEnd(18)}${copied} copied${rest}\n`;
  };
  return [
    line('apps', apps),
    line('permits', permits),
    line('idempotency keys', keys),
    line('daily counts', counts),
  ].join('');
}
