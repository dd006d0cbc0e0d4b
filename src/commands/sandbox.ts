import { parseListen } from '../config/listen.ts';
import { systemClock } from '../ops/clock.ts';
import { createLogger } from '../ops/log.ts';
import { systemRandom } from '../ops/random.ts';
import { startSandbox } from '../sandbox/server.ts';
import { Failure, untilSignal } from './exit.ts';

/** `lingpai sandbox`: a simulated WeChat, until a signal ends it. */
export async function sandbox(options: { listen: string }): Promise<void> {
  const logger = createLogger({ level: 'info' });
  const running = await startSandbox({
    listen: listenOf('--listen', options.listen),
    clock: systemClock,
    random: systemRandom,
    apps: [],
    anyApp: true,
    log: ({ kind, appId, errcode, tokenId, minted, fault }) =>
      logger.info({ call: kind, app_id: appId, errcode, token_id: tokenId, minted, fault }, 'call'),
  }).catch((error: Error) => {
    throw new Failure(error.message);
  });
  const stopped = untilSignal(() => running.close());
  logger.info({ url: running.url }, 'ready');
  await stopped;
}

/** A flag's address. */
export function listenOf(flag: string, text: string): { host: string; port: number } {
  const listen = parseListen(text);
  if (!listen) throw new Failure(`${flag} ${text}: write HOST:PORT, such as 127.0.0.1:0`, 2);
  return listen;
}
