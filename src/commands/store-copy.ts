import { existsSync, readFileSync } from 'node:fs';
import { copyStore } from '../app/copy-store.ts';
import type { Copied, Tally } from '../store/copy.ts';
import { Keyring, PLAIN } from '../store/keyring.ts';
import { parseStoreUrl, type StoreUrl } from '../store/open.ts';
import { Failure } from './exit.ts';
import { givenPath } from './given-path.ts';
import type { Io } from './io.ts';
import { complain, jsonLine, print } from './output.ts';

/** `lingpai store copy`: all that one store keeps, to another. */
export async function storeCopy(
  options: {
    from: string;
    to: string;
    fromSeal?: readonly string[];
    toSeal?: readonly string[];
    force?: boolean;
    json?: boolean;
  },
  io: Io,
): Promise<void> {
  const { json = false, force = false } = options;
  const [from, to] = [readUrl('--from', options.from, io), readUrl('--to', options.to, io)];
  const fromSeal = readSeal('--from-seal', options.fromSeal ?? [], io);
  const toSeal = readSeal('--to-seal', options.toSeal ?? [], io);
  if (from.kind === 'sqlite' && !existsSync(from.path)) throw new Failure(`--from: there is no file ${from.path}`, 2);
  if (nameOf(from) === nameOf(to)) throw new Failure('--from and --to are the same store', 2);
  try {
    const onWait = (name: string, ms: number) => complain(waitText(name, ms), io);
    const sides = {
      from: { flag: '--from', name: nameOf(from), url: from, seal: fromSeal },
      to: { flag: '--to', name: nameOf(to), url: to, seal: toSeal },
    };
    const copied = await copyStore(sides.from, sides.to, { force, onWait });
    print(json ? jsonLine(copied) : copiedText(copied), io);
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).replaceAll('store.seal', SEAL_FLAGS);
    if (json) print(jsonLine({ error: { message } }), io);
    throw new Failure(message);
  }
}

/** What is said while a store is looked at for living replicas. */
export function waitText(name: string, ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return `${name}: replicas have left their names; looking for ${seconds} s whether one still runs\n`;
}

/** What stands for `store.seal` here. */
const SEAL_FLAGS = '--from-seal or --to-seal';

/** The texts of the keys in these files. */
function readSeal(flag: string, given: readonly string[], io: Io): readonly string[] {
  const texts = given.map((name) => {
    if (name === PLAIN) return name;
    try {
      return readFileSync(givenPath(name, { cwd: io.cwd() }), 'utf8');
    } catch (error) {
      throw new Failure(
        `${flag} ${name}: ${error instanceof Error && 'code' in error ? error.code : 'it cannot be read'}`,
        2,
      );
    }
  });
  try {
    Keyring.parse(texts);
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message.replace('store.seal', flag) : String(error), 2);
  }
  return texts;
}

function readUrl(flag: string, text: string, io: Io): Exclude<StoreUrl, { kind: 'memory' }> {
  const url = parseStoreUrl(text);
  if ('error' in url) throw new Failure(`${flag}: ${url.error}`, 2);
  if (url.kind === 'memory') throw new Failure(`${flag}: "memory:" is empty whenever it is opened`, 2);
  return url.kind === 'sqlite' ? { ...url, path: givenPath(url.path, { cwd: io.cwd() }) } : url;
}

/** What a store is called: without a password. */
export function nameOf(url: StoreUrl): string {
  switch (url.kind) {
    case 'memory':
      return 'memory:';
    case 'sqlite':
      return url.path;
    case 'redis':
      return `${url.name} (prefix ${url.prefix})`;
  }
}

function copiedText({ apps, tickets, permits, keys, counts }: Copied): string {
  const line = (name: string, { found, copied }: Tally) => {
    const rest = found > copied ? `, ${found - copied} were there already` : '';
    return `${name.padEnd(18)}${copied} copied${rest}\n`;
  };
  return [
    line('apps', apps),
    line('tickets', tickets),
    line('permits', permits),
    line('idempotency keys', keys),
    line('daily counts', counts),
  ].join('');
}
