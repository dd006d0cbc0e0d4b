import { Command, Option } from 'commander';
import { Failure } from '../exit.ts';
import { CALLER_FLAGS, givenBeside, repeated, timeout, tokenless } from '../flags.ts';
import type { Io } from '../io.ts';
import { fileOption } from './options.ts';

/** The commands about messages. */
export function messageCommands(io: Io): Command[] {
  return [
    tokenless('send', 'send a template message, or a file of them')
      .description(
        `Sends one message (--app, --to, --template, --channel, --data), or with --file every message of a file: one a line, as the proto3 JSON of SendTemplateRequest. What becomes of each line is added to FILE.results; the same command again goes on where it was interrupted, tries again what may succeed now, and sends nothing twice.`,
      )
      .addOption(fileOption(io, 'file', 'send the messages of this file'))
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
        if (file === undefined) return await (await import('../send.ts')).send(options, io);
        const others = givenBeside(command, ['file', ...CALLER_FLAGS]);
        if (others.length > 0) {
          throw new Failure(
            `${others.join(', ')}: for one message, and --file sends those of a file; leave out one of the two`,
            2,
          );
        }
        await (await import('../send-file.ts')).sendFile({ ...options, file }, io);
      }),
    tokenless('permits', 'count the rights to send, or deposit some')
      .description(
        'Counts the messages that may still be sent by the permits of an app, or of one user, and says when they expire. With --deposit it adds those of a file: one a line, as the proto3 JSON of Permit. What is known already is not added twice.',
      )
      .argument('<APP>', 'the WeChat app id')
      .option('--user <OPENID>', 'count those of this user')
      .addOption(fileOption(io, 'deposit', 'add the permits of this file'))
      .addOption(timeout(30))
      .action(async (app, options) => (await import('../permits.ts')).permits(app, options, io)),
    new Command('review')
      .summary("check a template against WeChat's review rules")
      .description(
        'Checks a title and keywords against the review rules 1.1 to 2.5 that a machine can check, before you submit them to WeChat. It calls nobody. Exit code 1: there is something to object to.',
      )
      .requiredOption('--title <TITLE>', 'the title')
      .option('--keyword <NAME=EXAMPLE>', 'a keyword and an example of its content; may stand several times', repeated)
      .addOption(fileOption(io, 'existing', 'the titles that the library has already, one a line'))
      .addOption(fileOption(io, 'config', 'a configuration file whose `review` section adds words'))
      .option('--json', 'print JSON')
      .action(async (options) => (await import('../review.ts')).review(options, io)),
  ];
}
