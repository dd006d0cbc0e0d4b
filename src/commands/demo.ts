import { type RunningDemo, runDemo } from '../app/demo.ts';
import { StartError } from '../app/start-error.ts';
import { createLogger } from '../ops/log.ts';
import { Failure, untilSignal } from './exit.ts';
import { complain } from './output.ts';
import { listenOf } from './sandbox.ts';

const OTHER_PORTS =
  'Free ports for all: npm start -- --grpc 127.0.0.1:0 --http 127.0.0.1:0 --gateway 127.0.0.1:0 --sandbox 127.0.0.1:0';

/** `lingpai demo`: a simulated WeChat and a broker in one process, until a signal ends them. */
export async function demo(options: {
  grpc?: string;
  http?: string;
  gateway?: string;
  sandbox?: string;
}): Promise<void> {
  const logger = createLogger({ level: 'info' });
  const listen = {
    sandbox: listenOf('--sandbox', options.sandbox ?? '127.0.0.1:7690'),
    grpc: listenOf('--grpc', options.grpc ?? '127.0.0.1:7600'),
    http: listenOf('--http', options.http ?? '127.0.0.1:7680'),
    gateway: listenOf('--gateway', options.gateway ?? '127.0.0.1:7670'),
  };
  const running = await runDemo(listen, logger).catch((error: unknown) => {
    if (!(error instanceof StartError)) throw error;
    // The demo has no configuration: what is a setting of `serve` is a flag of the demo.
    throw new Failure(`${error.message.replace(/\b(grpc|http|gateway)\.listen\b/, '--$1')}. ${OTHER_PORTS}`);
  });
  const { grpc, http, gateway, sandbox, access } = running;
  const stopped = untilSignal(async () => {
    logger.info('draining');
    await running.stop();
    logger.info('stopped');
  });
  logger.info({ grpc, http, gateway, sandbox, access }, 'ready');
  complain(welcome(running), process);
  await stopped;
}

function welcome({ grpc, http, gateway, sandbox }: RunningDemo): string {
  const flag = grpc === '127.0.0.1:7600' ? '' : ` --addr ${grpc}`;
  return `
  Lingpai demo: two apps of a simulated WeChat, whose tokens live one minute. In a second terminal:

    npm run -s lingpai -- watch${flag}
    npm run -s lingpai -- refresh wxdemoclassic${flag}
    curl -s -H 'content-type: application/json' -d '{"appId":"wxdemostable"}' http://${http}/lingpai.v1.TokenService/Get
    curl -s -X POST ${sandbox}/sandbox/apps/wxdemoclassic/kill -H 'content-type: application/json' -d '{"issuer":"classic"}'     (the broker notices within 10 s)
    curl -s 'http://${gateway}/cgi-bin/token?grant_type=client_credential&appid=wxdemostable&secret=any'     (as an SDK asks; see docs/gateway.md)
    npm run -s lingpai -- send${flag} --app wxdemostable --to openid-1 --template t1 --channel official_account --data first=hello
    curl -s ${sandbox}/sandbox/inbox     (what users received; or open ${sandbox}/sandbox/ in a browser)

  Ctrl-C ends it. The log follows.

`;
}
