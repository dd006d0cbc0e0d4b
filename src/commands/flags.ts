import { Command, InvalidArgumentError, Option } from 'commander';

/** A command that calls a broker. */
function caller(name: string, summary: string): Command {
  return calling(new Command(name).summary(summary), addrOption().env('LINGPAI_ADDR').default('127.0.0.1:7600'));
}

/** Which broker to call. */
export const addrOption = () =>
  new Option('--addr <HOST:PORT>', "the broker's gRPC address; https://HOST:PORT: by TLS");

/** A command with the flags that say how a broker is called. */
export function calling(command: Command, addr: Option): Command {
  return command
    .addOption(addr)
    .addOption(
      new Option('--ca <FILE>', "who signs the broker's certificate, in PEM; without: the public CAs").env(
        'LINGPAI_CA',
      ),
    )
    .option('--cert <FILE>', 'a client certificate to show, in PEM')
    .option('--cert-key <FILE>', 'its key')
    .option('--plaintext', 'let the key in LINGPAI_KEY or LINGPAI_KEY_FILE go to another machine without TLS');
}

/** By their names in options: the flags of every command that calls a broker. */
export const CALLER_FLAGS: readonly string[] = ['addr', 'ca', 'cert', 'certKey', 'plaintext', 'json'];

/** The flags of every command that shows tokens. */
export function client(name: string, summary: string): Command {
  return caller(name, summary)
    .option('--json', 'print JSON (proto3 JSON of the answer) instead of text')
    .option('--show-token', 'print token values, which are secrets, instead of masking them');
}

/** The flags of every command that shows no token. */
export function tokenless(name: string, summary: string): Command {
  return caller(name, summary).option('--json', 'print JSON instead of text');
}

/** The values of a flag that may stand several times. */
export function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** The flags on the command line that are none of these. */
export function givenBeside(command: Command, names: readonly string[]): string[] {
  const given = command.options.filter(
    (option) =>
      command.getOptionValueSource(option.attributeName()) === 'cli' && !names.includes(option.attributeName()),
  );
  return given.map(({ flags }) => flags.replace(/ .*/, ''));
}

/** A flag's value as a whole number. */
export function wholeNumber(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) throw new InvalidArgumentError('Write a whole number.');
  return number;
}

function seconds(text: string): number {
  const number = wholeNumber(text);
  if (number < 1 || number > 86_400) throw new InvalidArgumentError('Write 1 to 86400.');
  return number;
}

/** How long a command waits for its answer, when that is not given. */
export const timeout = (standard: number) =>
  new Option('--timeout <SECONDS>', 'how long to wait for the answer').default(standard).argParser(seconds);
