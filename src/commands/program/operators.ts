import { Command } from 'commander';
import { timeout, tokenless } from '../flags.ts';
import type { Io } from '../io.ts';
import type { ClearOptions } from '../quota.ts';

/** The commands by which operators have a broker ask WeChat. */
export function operatorCommands(io: Io): Command[] {
  const quotas = () => import('../quota.ts');
  return [
    tokenless('quota', 'ask WeChat how often a call may be made')
      .description(
        'Prints how often a call of WeChat\'s may be made today and was, which channels of messages are shut, and of the two calls that fetch tokens what is left of the broker\'s own budget. "quota clear APP" has WeChat forget what was counted. A caller needs the verb admin.',
      )
      .argument('<APP>', 'the WeChat app id')
      .argument('<PATH>', 'the path of the call, such as /cgi-bin/message/subscribe/send')
      .addOption(timeout(30))
      .action(async (app, path, options) => (await quotas()).quota(app, path, options, io))
      .addCommand(
        new Command('clear')
          .summary('have WeChat forget what was counted today')
          .configureHelp({ showGlobalOptions: true })
          .description(
            "Clears the day's counts of all calls of an app, which WeChat does 10 times a month, and has the broker try again what it had put off. Where a spent quota is in the way of a token, the broker asks by the AppSecret.",
          )
          .argument('<APP>', 'the WeChat app id')
          .option('--yes', 'do not ask')
          // The flags of "quota" are read as that one's, wherever they stand.
          .action(async (app, _, command: Command) =>
            (await quotas()).clearQuota(app, command.optsWithGlobals<ClearOptions>(), io),
          ),
      ),
    tokenless('rid', 'ask WeChat what it knows of a call that failed')
      .description(
        'Prints what WeChat knows of a call, by the rid in its errmsg: when it came and from where, and what was answered. What the call carried is not shown. WeChat remembers for 7 days. A caller needs the verb admin.',
      )
      .argument('<APP>', 'the WeChat app id that made the call')
      .argument('<RID>', 'the rid, such as 6b0cd290-32a1f6ac-0881b87d')
      .addOption(timeout(30))
      .action(async (app, rid, options) => (await import('../rid.ts')).rid(app, rid, options, io)),
    tokenless('revoke-token', 'end a token that has leaked')
      .description(
        "Replaces an app's token twice, half a minute apart, so that WeChat honours the leaked one no more, and asks WeChat whether it does. It takes a minute or more, and two of the day's budget of mints. A caller needs the verbs read, refresh and admin.",
      )
      .argument('<APP>', 'the WeChat app id')
      .option('--leaked-token-stdin', 'read the leaked token from standard input; without: the current one')
      .option('--yes', 'do not ask')
      .addOption(timeout(30))
      .action(async (app, options) => (await import('../revoke-token.ts')).revokeToken(app, options, io)),
  ];
}
