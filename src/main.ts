import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { explained, Failure } from './commands/exit.ts';
import { CALLER_FLAGS, client, givenBeside, repeated, timeout, tokenless, wholeNumber } from './commands/flags.ts';
import { givenPath } from './commands/given-path.ts';
import type { Io } from './commands/io.ts';
import { keysCommands } from './commands/keys-flags.ts';

/** The config file that `npm start` looks for. */
const DEFAULT_CONFIG = 'lingpai.yaml';

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
  /** A flag that names a file. */
  const fileOption = (flag: string, about: string) =>
    new Option(`--${flag} <FILE>`, about).argParser((path: string) => givenPath(path, { cwd: io.cwd() }));
  const configOption = () =>
    fileOption('config', 'the configuration file').default(resolve(io.cwd(), DEFAULT_CONFIG), DEFAULT_CONFIG);
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

  program.addCommand(
    new Command('serve')
      .summary('run the broker')
      .description(
        `Runs the broker until SIGTERM or SIGINT, then drains: watchers are told to reconnect, calls in progress finish, and it exits within 25 s. A second signal ends it at once. SIGHUP or a change of the file reloads apps and secrets. Logs are JSON lines on standard output; the one with msg "ready" names the addresses.`,
      )
      .addOption(configOption())
      .option('--log-level <LEVEL>', 'debug, info, warn or error', 'info')
      .action(async (options) => (await import('./commands/serve.ts')).serve(options)),
  );

  program.addCommand(
    new Command('demo')
      .summary('run a broker and a simulated WeChat, with nothing to configure')
      .description(
        'Runs the sandbox and a broker in one process, with two apps (wxdemoclassic, wxdemostable) whose tokens live for a minute or two, so that you can watch them rotate, and to whose users you can send messages. Nothing is stored.',
      )
      .option('--grpc <HOST:PORT>', 'where the broker serves gRPC', '127.0.0.1:7600')
      .option('--http <HOST:PORT>', 'where the broker serves HTTP', '127.0.0.1:7680')
      .option('--gateway <HOST:PORT>', "where the broker serves WeChat's own API", '127.0.0.1:7670')
      .option('--sandbox <HOST:PORT>', 'where the simulated WeChat listens', '127.0.0.1:7690')
      .action(async (options) => (await import('./commands/demo.ts')).demo(options)),
  );

  program.addCommand(
    new Command('sandbox')
      .summary('run a simulated WeChat to test against')
      .description(
        'Serves a simulated WeChat: both token endpoints, the probe, the four calls that send messages, tickets, quotas, logins and media, stubs for any other call, and a control endpoint under /sandbox/ that breaks things on purpose. Any app id and any secret will do. What users received is at /sandbox/inbox as JSON, and at /sandbox/ as a page, with the apps and the faults. See docs/sandbox.md.',
      )
      .option('--listen <HOST:PORT>', 'where to listen; port 0 picks a free one', '127.0.0.1:7690')
      .option(
        '--tls',
        'speak HTTPS by a certificate for api.weixin.qq.com and localhost that is made now; `ready` names the ca_file to trust',
      )
      .option('--tls-cert <FILE>', 'speak HTTPS by this certificate (PEM)')
      .option('--tls-key <FILE>', 'its key (PEM)')
      .action(async (options) => (await import('./commands/sandbox.ts')).sandbox(options)),
  );

  program.addCommand(
    client('get', "print an app's token")
      .description("Prints an app's token as the broker has it: generation, id, time left, status.")
      .argument('<APP>', 'the WeChat app id')
      .addOption(
        new Option('--min-generation <N>', 'wait for this generation or a newer one').default(0).argParser(wholeNumber),
      )
      .addOption(timeout(10))
      .action(async (app, options) => (await import('./commands/get.ts')).get(app, options, io)),
  );

  program.addCommand(
    client('watch', 'follow tokens as they rotate')
      .description(
        'Follows the named apps, or all: a live view with the time left on a terminal, one line an event elsewhere. It reconnects by itself and keeps the newest token across a reconnect.',
      )
      .argument('[APP...]', 'the WeChat app ids; none: all')
      .action(async (apps, options) => (await import('./commands/watch.ts')).watch(apps, options, io)),
  );

  program.addCommand(
    tokenless('status', 'print how the broker and its apps are doing')
      .description(
        'Prints how each app is and, where several replicas share a store, how the one that answers sees the others: who lives, who refreshes which app, whether the store answers; how long new tokens took from hop to hop; and in words whatever is unusual. It shows no token.',
      )
      .argument('[APP...]', 'the WeChat app ids; none: all')
      .addOption(timeout(10))
      .action(async (apps, options) => (await import('./commands/status.ts')).status(apps, options, io)),
  );

  program.addCommand(
    client('refresh', "report a refused token, or replace an app's token")
      .description(
        'With --rejected-generation or --rejected-token-stdin: reports a token that WeChat refused; the broker asks WeChat and replaces it only if it is dead. With neither: replaces the token that is held without asking, which costs a mint and gives the old one its grace (5 minutes) to live. Channels of messages that are shut, by a quota that you have cleared for instance, are then tried again by the next message.',
      )
      .argument('<APP>', 'the WeChat app id')
      .addOption(new Option('--rejected-generation <N>', 'the generation that was refused').argParser(wholeNumber))
      .option('--rejected-token-stdin', 'read the value that was refused from standard input')
      .addOption(timeout(30))
      .action(async (app, options) => (await import('./commands/refresh.ts')).refresh(app, options, io)),
  );

  program.addCommand(
    client('ticket', "print an app's ticket")
      .description(
        "Prints an app's ticket as the broker has it, or fetches one: id and time left. WeChat allows few such calls a day, so the broker keeps what it has.",
      )
      .argument('<APP>', 'the WeChat app id')
      .addOption(new Option('--type <TYPE>', 'what it is for').choices(['jsapi', 'wx_card']).default('jsapi'))
      .addOption(timeout(10))
      .action(async (app, options) => (await import('./commands/ticket.ts')).ticket(app, options, io)),
  );

  program.addCommand(
    tokenless('sign', 'sign a web page for the JS-SDK')
      .description(
        'Signs a web page with the jsapi ticket of an app, and prints what wx.config needs on it: appId, timestamp, nonceStr, signature.',
      )
      .argument('<APP>', 'the WeChat app id')
      .argument('<URL>', 'the address of the page as location.href has it; what begins at # is left out')
      .addOption(timeout(10))
      .action(async (app, url, options) => (await import('./commands/ticket.ts')).sign(app, url, options, io)),
  );

  program.addCommand(
    new Command('check')
      .summary('check a configuration')
      .description(
        'Checks a configuration file and names every problem in it. With --online it also asks WeChat about each app, by a read of the stable endpoint that disturbs no token (it may make a stable one where there is none), and says in words what is wrong: the IP to add to the allow-list, a wrong secret, a confirmation that an administrator owes. With --who, --may and --app it says which rule allows a caller something, or what to write; exit code 1: nothing does.',
      )
      .addOption(configOption())
      .option('--online', 'ask WeChat for each app')
      .option('--who <WHO>', 'a caller, as rules name it: key:orders')
      .option('--may <VERB>', 'read, call, send, refresh, status or admin')
      .option('--app <APP>', 'an app id, or "*" for every app')
      .option('--json', 'print JSON')
      .action(async (options) => (await import('./commands/check.ts')).check(options, io)),
  );

  program.addCommand(
    tokenless('send', 'send a template message, or a file of them')
      .description(
        `Sends one message (--app, --to, --template, --channel, --data), or with --file every message of a file: one a line, as the proto3 JSON of SendTemplateRequest. What becomes of each line is added to FILE.results; the same command again goes on where it was interrupted, tries again what may succeed now, and sends nothing twice.`,
      )
      .addOption(fileOption('file', 'send the messages of this file'))
      .option('--app <APP>', 'the WeChat app id')
      .option('--to <OPENID>', 'the user')
      .option('--template <ID>', 'the template')
      .addOption(
        new Option('--channel <CHANNEL>', 'how').choices([
          'subscribe',
          'official_account',
          'subscription_notice',
          'mini_program',
        ]),
      )
      .option('--data <NAME=VALUE>', 'a keyword and its content; may stand several times', repeated)
      .option('--data-json <JSON>', 'keywords as {"NAME": "VALUE"} or {"NAME": {"value": "...", "color": "#RRGGBB"}}')
      .option('--key <KEY>', 'the idempotency key: with the same one the same message is sent once in 24 hours')
      .option('--page <PAGE>', 'the page that it opens (mini_program, subscribe; subscription_notice: a web page)')
      .option('--form-id <ID>', 'the form_id or prepay_id; without it one that was deposited is used (mini_program)')
      .option('--emphasis <NAME>', 'the keyword to enlarge (mini_program)')
      .option('--state <STATE>', 'developer, trial or formal (subscribe)')
      .option('--lang <LANG>', 'zh_CN, en_US, zh_HK or zh_TW (subscribe)')
      .option('--url <URL>', 'the address that it opens (official_account)')
      .option(
        '--mini-program-app <APP>',
        'the mini program that it opens instead (official_account, subscription_notice)',
      )
      .option('--mini-program-page <PAGE>', 'the page of that mini program (official_account, subscription_notice)')
      .addOption(timeout(60))
      .action(async ({ file, ...options }, command: Command) => {
        if (file === undefined) return await (await import('./commands/send.ts')).send(options, io);
        const others = givenBeside(command, ['file', ...CALLER_FLAGS]);
        if (others.length > 0) {
          throw new Failure(
            `${others.join(', ')}: for one message, and --file sends those of a file; leave out one of the two`,
            2,
          );
        }
        await (await import('./commands/send-file.ts')).sendFile({ ...options, file }, io);
      }),
  );

  program.addCommand(
    tokenless('permits', 'count the rights to send, or deposit some')
      .description(
        'Counts the messages that may still be sent by the permits of an app, or of one user, and says when they expire. With --deposit it adds those of a file: one a line, as the proto3 JSON of Permit. What is known already is not added twice.',
      )
      .argument('<APP>', 'the WeChat app id')
      .option('--user <OPENID>', 'count those of this user')
      .addOption(fileOption('deposit', 'add the permits of this file'))
      .addOption(timeout(30))
      .action(async (app, options) => (await import('./commands/permits.ts')).permits(app, options, io)),
  );

  program.addCommand(
    new Command('review')
      .summary("check a template against WeChat's review rules")
      .description(
        'Checks a title and keywords against the review rules 1.1 to 2.5 that a machine can check, before you submit them to WeChat. It calls nobody. Exit code 1: there is something to object to.',
      )
      .requiredOption('--title <TITLE>', 'the title')
      .option('--keyword <NAME=EXAMPLE>', 'a keyword and an example of its content; may stand several times', repeated)
      .addOption(fileOption('existing', 'the titles that the library has already, one a line'))
      .addOption(fileOption('config', 'a configuration file whose `review` section adds words'))
      .option('--json', 'print JSON')
      .action(async (options) => (await import('./commands/review.ts')).review(options, io)),
  );

  program.addCommand(keysCommands(configOption, io));

  const storeUrl = (flag: string, about: string) =>
    new Option(`--${flag} <URL>`, about).env(`LINGPAI_STORE_${flag.toUpperCase()}`).makeOptionMandatory();

  const store = new Command('store').summary('copy a store, make keys that seal it, remove what a lost key has sealed');
  program.addCommand(store);
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
      .action(async (options) => (await import('./commands/store-copy.ts')).storeCopy(options, io)),
  );
  store.addCommand(
    new Command('key')
      .summary('make a key that seals the store')
      .description(
        'Prints a new key, one line: lingpai store key > secrets/store-1.key. Name the file in store.seal; see docs/operations.md for the order in which keys come and go.',
      )
      .action(async () => (await import('./commands/store-key.ts')).storeKey(io)),
  );
  store.addCommand(
    new Command('forget')
      .summary('remove what a lost key has sealed')
      .description(
        'With --sealed: removes the records that no key of store.seal opens, after it has named their apps and been answered with yes. The way out where a key is lost: each classic app then costs one mint. Stop every broker that uses the store first. Records that a held key opens, and those that are not sealed, stay.',
      )
      .addOption(configOption())
      .option('--sealed', 'the records that no key of store.seal opens')
      .option('--yes', 'do not ask')
      .option('--json', 'print JSON')
      .action(async (options) => (await import('./commands/store-forget.ts')).storeForget(options, io)),
  );

  program.addCommand(
    new Command('start')
      .option('--grpc <HOST:PORT>')
      .option('--http <HOST:PORT>')
      .option('--gateway <HOST:PORT>')
      .option('--sandbox <HOST:PORT>')
      .action(async (options, command: Command) => {
        const config = resolve(io.cwd(), DEFAULT_CONFIG);
        if (!existsSync(config)) return await (await import('./commands/demo.ts')).demo(options);
        const flags = givenBeside(command, []);
        if (flags.length > 0) {
          throw new Failure(
            `${flags.join(', ')}: for the demo, and there is ${config}, which is served as it says; set grpc.listen, http.listen and gateway.listen in it, or run the demo: npm run -s lingpai -- demo ${flags.map((flag) => `${flag} HOST:PORT`).join(' ')}`,
            2,
          );
        }
        await (await import('./commands/serve.ts')).serve({ config });
      }),
    { hidden: true },
  );

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
