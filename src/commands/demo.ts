import { runBroker } from '../app/run.ts';
import { StartError } from '../app/start-error.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { NewPermit } from '../core/messages/ports.ts';
import { systemClock } from '../ops/clock.ts';
import { createLogger } from '../ops/log.ts';
import { systemRandom } from '../ops/random.ts';
import { startSandbox } from '../sandbox/server.ts';
import { Failure, untilSignal } from './exit.ts';
import { complain } from './output.ts';
import { listenOf } from './sandbox.ts';

const SECRET = 'demo';
const APPS = [
  { appId: 'wxdemoclassic', issuer: 'classic', lifetimeMs: 60_000 },
  { appId: 'wxdemostable', issuer: 'stable', lifetimeMs: 60_000 },
] as const;
/** Short, so that there is something to see; WeChat's is 5 minutes. */
const OVERLAP_MS = 20_000;
const PLENTY = 10_000_000;
const OTHER_PORTS = 'Free ports for all: npm start -- --grpc 127.0.0.1:0 --http 127.0.0.1:0 --sandbox 127.0.0.1:0';

/** `lingpai demo`: a simulated WeChat and a broker in one process, until a signal ends them. */
export async function demo(options: { grpc?: string; http?: string; sandbox?: string }): Promise<void> {
  const { grpc = '127.0.0.1:7600', http = '127.0.0.1:7680', sandbox = '127.0.0.1:7690' } = options;
  const logger = createLogger({ level: 'info' });
  const wechat = await startSandbox({
    listen: listenOf('--sandbox', sandbox),
    clock: systemClock,
    random: systemRandom,
    apps: APPS.map(({ appId, lifetimeMs }) => ({
      appId,
      secret: SECRET,
      lifetimeMs,
      overlapMs: OVERLAP_MS,
      quotas: {
        classicPerDay: PLENTY,
        classicPerMinute: PLENTY,
        stablePerDay: PLENTY,
        stablePerMinute: PLENTY,
        forcedPerDay: PLENTY,
      },
    })),
  }).catch((error: Error) => {
    throw new Failure(`${error.message}. ${OTHER_PORTS}`);
  });
  try {
    listenOf('--grpc', grpc);
    listenOf('--http', http);
    // As in life: who agrees to messages tells WeChat and the service at once, and what the service deposits is what WeChat knows.
    const onDeposit = (appId: string, permit: NewPermit) => wechat.wechat.messages(appId).permits.add(permit);
    const running = await runBroker(await demoConfig(grpc, http, wechat.url), logger, onDeposit).catch(
      (error: unknown) => {
        if (!(error instanceof StartError)) throw error;
        // The demo has no configuration: what is a setting of `serve` is a flag of the demo.
        throw new Failure(`${error.message.replace(/\b(grpc|http)\.listen\b/, '--$1')}. ${OTHER_PORTS}`);
      },
    );
    const stopped = untilSignal(async () => {
      logger.info('draining');
      await running.stop();
      logger.info('stopped');
    });
    logger.info({ grpc: running.grpc, http: running.http, sandbox: wechat.url }, 'ready');
    complain(welcome(running.grpc, running.http, wechat.url), process);
    await stopped;
  } finally {
    await wechat.close();
  }
}

function demoConfig(grpc: string, http: string, baseUrl: string): Promise<Config> {
  const config = {
    grpc: { listen: grpc },
    http: { listen: http },
    store: { url: 'memory:' },
    upstream: { base_url: baseUrl, overlap: `${OVERLAP_MS}ms` },
    refresh: { stable_poll: '2s', cooldown: '5s', probe_interval: '10s', daily_budget: 10_000 },
    apps: APPS.map(({ appId, issuer }) => ({ app_id: appId, secret: SECRET, issuer })),
  };
  return loadConfig('demo', {}, { read: async () => JSON.stringify(config) });
}

function welcome(grpc: string, http: string, sandbox: string): string {
  const flag = grpc === '127.0.0.1:7600' ? '' : ` --addr ${grpc}`;
  return `
  Lingpai demo: two apps of a simulated WeChat, whose tokens live one minute. In a second terminal:

    npm run -s lingpai -- watch${flag}
    npm run -s lingpai -- refresh wxdemoclassic${flag}
    curl -s -H 'content-type: application/json' -d '{"appId":"wxdemostable"}' http://${http}/lingpai.v1.TokenService/Get
    curl -s -X POST ${sandbox}/sandbox/apps/wxdemoclassic/kill -H 'content-type: application/json' -d '{"issuer":"classic"}'     (the broker notices within 10 s)
    npm run -s lingpai -- send${flag} --app wxdemostable --to openid-1 --template t1 --channel official_account --data first=hello
    curl -s ${sandbox}/sandbox/inbox     (what users received; or open ${sandbox}/sandbox/ in a browser)

  Ctrl-C ends it. The log follows.

`;
}
