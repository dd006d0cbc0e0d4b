import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { Failure } from '../exit.ts';
import { givenBeside } from '../flags.ts';
import type { Io } from '../io.ts';
import { configOption, DEFAULT_CONFIG } from './options.ts';

/** The commands that run a broker or a simulated WeChat, or check what a broker would run by. */
export function brokerCommands(io: Io): Command[] {
  return [
    new Command('serve')
      .summary('run the broker')
      .description(
        `Runs the broker until SIGTERM or SIGINT, then drains: watchers are told to reconnect, calls in progress finish, and it exits within 25 s. A second signal ends it at once. SIGHUP or a change of the file reloads apps and secrets. Logs are JSON lines on standard output; the one with msg "ready" names the addresses.`,
      )
      .addOption(configOption(io))
      .option('--log-level <LEVEL>', 'debug, info, warn or error', 'info')
      .action(async (options) => (await import('../serve.ts')).serve(options)),
    new Command('demo')
      .summary('run a broker and a simulated WeChat, with nothing to configure')
      .description(
        'Runs the sandbox and a broker in one process, with two apps (wxdemoclassic, wxdemostable) whose tokens live for a minute or two, so that you can watch them rotate, and to whose users you can send messages. Nothing is stored.',
      )
      .option('--grpc <HOST:PORT>', 'where the broker serves gRPC', '127.0.0.1:7600')
      .option('--http <HOST:PORT>', 'where the broker serves HTTP', '127.0.0.1:7680')
      .option('--gateway <HOST:PORT>', "where the broker serves WeChat's own API", '127.0.0.1:7670')
      .option('--sandbox <HOST:PORT>', 'where the simulated WeChat listens', '127.0.0.1:7690')
      .action(async (options) => (await import('../demo.ts')).demo(options)),
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
      .action(async (options) => (await import('../sandbox.ts')).sandbox(options)),
    new Command('check')
      .summary('check a configuration')
      .description(
        'Checks a configuration file and names every problem in it. With --online it also asks WeChat about each app, by a read of the stable endpoint that disturbs no token (it may make a stable one where there is none), and says in words what is wrong: the IP to add to the allow-list, a wrong secret, a confirmation that an administrator owes. With --who, --may and --app it says which rule allows a caller something, or what to write; exit code 1: nothing does.',
      )
      .addOption(configOption(io))
      .option('--online', 'ask WeChat for each app')
      .option('--who <WHO>', 'a caller, as rules name it: key:orders')
      .option('--may <VERB>', 'read, call, send, refresh, status or admin')
      .option('--app <APP>', 'an app id, or "*" for every app')
      .option('--json', 'print JSON')
      .action(async (options) => (await import('../check.ts')).check(options, io)),
  ];
}

/** `npm start`: serves where there is a configuration, else runs the demo. */
export function startCommand(io: Io): Command {
  return new Command('start')
    .option('--grpc <HOST:PORT>')
    .option('--http <HOST:PORT>')
    .option('--gateway <HOST:PORT>')
    .option('--sandbox <HOST:PORT>')
    .action(async (options, command: Command) => {
      const config = resolve(io.cwd(), DEFAULT_CONFIG);
      if (!existsSync(config)) return await (await import('../demo.ts')).demo(options);
      const flags = givenBeside(command, []);
      if (flags.length > 0) {
        throw new Failure(
          `${flags.join(', ')}: for the demo, and there is ${config}, which is served as it says; set grpc.listen, http.listen and gateway.listen in it, or run the demo: npm run -s lingpai -- demo ${flags.map((flag) => `${flag} HOST:PORT`).join(' ')}`,
          2,
        );
      }
      await (await import('../serve.ts')).serve({ config });
    });
}
