import { Command, Option } from 'commander';
import { repeated } from '../flags.ts';
import type { Io } from '../io.ts';
import { configOption } from './options.ts';

/** `lingpai store` and the commands below it. */
export function storeCommand(io: Io): Command {
  const storeUrl = (flag: string, about: string) =>
    new Option(`--${flag} <URL>`, about).env(`LINGPAI_STORE_${flag.toUpperCase()}`).makeOptionMandatory();

  const store = new Command('store').summary('copy a store, make keys that seal it, remove what a lost key has sealed');
  store.addCommand(
    new Command('copy')
      .summary('copy a store to another')
      .description(
        'Copies all that a store keeps to another: tokens, budgets, permits, idempotency keys with their outcomes, daily counts. From sqlite:PATH to redis://HOST or back, or between two of a kind; stop every broker that uses either first. It mints nothing and never lowers a generation; a copy that was broken off may be repeated. A password is better given in LINGPAI_STORE_FROM and LINGPAI_STORE_TO than on the command line, which others on the machine can see. Records that are sealed are opened by the keys of --from-seal, and sealed by the first of --to-seal.',
      )
      .addOption(storeUrl('from', 'where to read: sqlite:PATH or redis://...'))
      .addOption(storeUrl('to', 'where to write'))
      .option('--from-seal <FILE>', 'a key file of the one, or plain; may stand several times', repeated)
      .option('--to-seal <FILE>', 'a key file of the other, or plain; the first seals', repeated)
      .option('--force', 'write also where apps are already, and join what is in both')
      .option('--json', 'print JSON')
      .action(async (options) => (await import('../store-copy.ts')).storeCopy(options, io)),
  );
  store.addCommand(
    new Command('key')
      .summary('make a key that seals the store')
      .description(
        'Prints a new key, one line: lingpai store key > secrets/store-1.key. Name the file in store.seal; see docs/operations.md for the order in which keys come and go.',
      )
      .action(async () => (await import('../store-key.ts')).storeKey(io)),
  );
  store.addCommand(
    new Command('forget')
      .summary('remove what a lost key has sealed')
      .description(
        'With --sealed: removes the records that no key of store.seal opens, after it has named their apps and been answered with yes. The way out where a key is lost: each classic app then costs one mint. Stop every broker that uses the store first. Records that a held key opens, and those that are not sealed, stay.',
      )
      .addOption(configOption(io))
      .option('--sealed', 'the records that no key of store.seal opens')
      .option('--yes', 'do not ask')
      .option('--json', 'print JSON')
      .action(async (options) => (await import('../store-forget.ts')).storeForget(options, io)),
  );
  return store;
}
