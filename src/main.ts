import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { explained } from './commands/exit.ts';
import type { Io } from './commands/io.ts';
import { brokerCommands, startCommand } from './commands/program/brokers.ts';
import { keysCommands } from './commands/program/keys.ts';
import { messageCommands } from './commands/program/messages.ts';
import { operatorCommands } from './commands/program/operators.ts';
import { storeCommand } from './commands/program/stores.ts';
import { tokenCommands } from './commands/program/tokens.ts';

/**
 * Runs a command line, without the program's name, to its end, and returns the exit code: 0 success, 1 the command failed, 2
 * wrong usage or configuration.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const program = programOf(io);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return explained(error, io);
  }
}

/** Runs the command line of this process. */
export async function main(): Promise<void> {
  // A reader that has had enough (`| head -1`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  process.exitCode = await run(process.argv.slice(2), process);
}

function programOf(io: Io): Command {
  const program = new Command('lingpai')
    .description(
      'Lingpai (令牌): a central access_token server for WeChat apps. It alone mints tokens; your services read, watch and report them over gRPC.',
    )
    .version(packageJson.version)
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      'after',
      `
First steps:
  npm start                                    a demo: a simulated WeChat, a broker, two apps that rotate
  npm run -s lingpai -- watch                  watch them rotate, in a second terminal
  npm run -s lingpai -- check --config FILE    check a configuration; with --online, ask WeChat too

Exit codes: 0 success, 1 the command failed, 2 wrong usage or configuration.
"COMMAND --help" explains each command.`,
    );

  const commands = [
    ...brokerCommands(io),
    ...tokenCommands(io),
    ...operatorCommands(io),
    ...messageCommands(io),
    keysCommands(io),
    storeCommand(io),
  ];
  for (const command of commands) program.addCommand(command);
  program.addCommand(startCommand(io), { hidden: true });

  const finish = (command: Command): void => {
    command.exitOverride().configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    });
    command.commands.forEach(finish);
  };
  finish(program);
  return program;
}
