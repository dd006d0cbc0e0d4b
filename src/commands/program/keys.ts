import { Command, InvalidArgumentError, Option } from 'commander';
import { addrOption, calling } from '../flags.ts';
import type { Io } from '../io.ts';
import { configOption } from './options.ts';

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const TEN_YEARS_MS = 3_650 * 86_400_000;

/** Milliseconds of a life such as `365d`, `12h` or `30m`, of at most ten years. */
function life(text: string): number {
  const [, count, unit = ''] = /^(\d{1,7})(m|h|d)$/.exec(text) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? Number.NaN);
  if (ms <= TEN_YEARS_MS) return ms;
  throw new InvalidArgumentError('Write days, hours or minutes, of ten years at most: 365d, 12h, 30m.');
}

function lifeOfKey(text: string): number | 'never' {
  if (text === 'never') return text;
  const ms = life(text);
  if (ms === 0) throw new InvalidArgumentError('Write a life that is longer than nothing.');
  return ms;
}

/** `lingpai keys` and the commands below it. */
export function keysCommands(io: Io): Command {
  const below = (name: string, summary: string) => new Command(name).summary(summary).addOption(configOption(io));
  const expires = () =>
    new Option('--expires <LIFE>', 'for how long the key is good: 365d, 12h, 30m, or never')
      .default(life('365d'), '365d')
      .argParser(lifeOfKey);
  const actions = () => import('../keys.ts');
  return new Command('keys')
    .summary('make and revoke the keys of callers')
    .description(
      'Keeps the key file that the configuration names as access.keys. It holds hashes, of which no key can be made. Brokers that read the file know of a change within 5 s; copy it to each of several replicas.',
    )
    .addCommand(
      below('create', 'make a key')
        .description(
          'Makes a key and prints it, alone, on standard output; it is never shown again. Several keys of one name may be good at once. A caller sends it as "authorization: Bearer KEY", and is key:NAME to the rules.',
        )
        .argument('<NAME>', 'who is to have it: letters, digits, ".", "_" and "-"')
        .addOption(expires())
        .action(async (name, options) => (await actions()).createKey(name, options, io)),
    )
    .addCommand(
      below('rotate', 'make a key in place of those of its name')
        .description(
          'Makes a new key of a name, as create does; those that there were expire after the overlap, so that callers have until then to change over.',
        )
        .argument('<NAME>', 'whose keys')
        .addOption(expires())
        .addOption(
          new Option('--overlap <LIFE>', 'for how long the old keys stay good')
            .default(life('7d'), '7d')
            .argParser(life),
        )
        .action(async (name, options) => (await actions()).rotateKey(name, options, io)),
    )
    .addCommand(
      below('revoke', 'end a key, or all of a name')
        .description('Removes a key by its id, or all of a name. Within 5 s brokers refuse it, and end its streams.')
        .argument('<NAME|ID>', 'a name, or the 12 digits of an id')
        .action(async (nameOrId, options) => (await actions()).revokeKey(nameOrId, options, io)),
    )
    .addCommand(
      calling(below('list', 'show the keys'), addrOption())
        .description(
          'Shows the keys: name, id, when they were made and when they expire. With --addr also when each was used last, and how many of its streams are open, as that broker knows since its start; for that a caller needs the verb admin on all apps. It shows no key.',
        )
        .option('--json', 'print JSON instead of text')
        .action(async (options) => (await actions()).listKeys(options, io)),
    );
}
