import { type Command, Option } from 'commander';
import { client, timeout, tokenless, wholeNumber } from '../flags.ts';
import type { Io } from '../io.ts';

/** The commands that ask a broker about tokens. */
export function tokenCommands(io: Io): Command[] {
  return [
    client('get', "print an app's token")
      .description("Prints an app's token as the broker has it: generation, id, time left, status.")
      .argument('<APP>', 'the WeChat app id')
      .addOption(
        new Option('--min-generation <N>', 'wait for this generation or a newer one').default(0).argParser(wholeNumber),
      )
      .addOption(timeout(10))
      .action(async (app, options) => (await import('../get.ts')).get(app, options, io)),
    client('watch', 'follow tokens as they rotate')
      .description(
        'Follows the named apps, or all: a live view with the time left on a terminal, one line an event elsewhere. It reconnects by itself and keeps the newest token across a reconnect.',
      )
      .argument('[APP...]', 'the WeChat app ids; none: all')
      .action(async (apps, options) => (await import('../watch.ts')).watch(apps, options, io)),
    tokenless('status', 'print how the broker and its apps are doing')
      .description(
        'Prints how each app is and, where several replicas share a store, how the one that answers sees the others: who lives, who refreshes which app, whether the store answers; how long new tokens took from hop to hop; and in words whatever is unusual. It shows no token.',
      )
      .argument('[APP...]', 'the WeChat app ids; none: all')
      .addOption(timeout(10))
      .action(async (apps, options) => (await import('../status.ts')).status(apps, options, io)),
    client('refresh', "report a refused token, or replace an app's token")
      .description(
        'With --rejected-generation or --rejected-token-stdin: reports a token that WeChat refused; the broker asks WeChat and replaces it only if it is dead. With neither: replaces the token that is held without asking, which costs a mint and gives the old one its grace (5 minutes) to live. Channels of messages that are shut, by a quota that you have cleared for instance, are then tried again by the next message.',
      )
      .argument('<APP>', 'the WeChat app id')
      .addOption(new Option('--rejected-generation <N>', 'the generation that was refused').argParser(wholeNumber))
      .option('--rejected-token-stdin', 'read the value that was refused from standard input')
      .addOption(timeout(30))
      .action(async (app, options) => (await import('../refresh.ts')).refresh(app, options, io)),
    client('ticket', "print an app's ticket")
      .description(
        "Prints an app's ticket as the broker has it, or fetches one: id and time left. WeChat allows few such calls a day, so the broker keeps what it has.",
      )
      .argument('<APP>', 'the WeChat app id')
      .addOption(new Option('--type <TYPE>', 'what it is for').choices(['jsapi', 'wx_card']).default('jsapi'))
      .addOption(timeout(10))
      .action(async (app, options) => (await import('../ticket.ts')).ticket(app, options, io)),
    tokenless('sign', 'sign a web page for the JS-SDK')
      .description(
        'Signs a web page with the jsapi ticket of an app, and prints what wx.config needs on it: appId, timestamp, nonceStr, signature.',
      )
      .argument('<APP>', 'the WeChat app id')
      .argument('<URL>', 'the address of the page as location.href has it; what begins at # is left out')
      .addOption(timeout(10))
      .action(async (app, url, options) => (await import('../ticket.ts')).sign(app, url, options, io)),
  ];
}
