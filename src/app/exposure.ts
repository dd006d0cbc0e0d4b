import type { Config } from '../config/config.ts';
import { formatListen } from '../config/listen.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { Logger } from '../ops/log.ts';
import { isInClear } from './upstream.ts';

/** Warns of what a configuration lets others reach or read. */
export function warnOfExposure({ grpc, http, upstream }: Config, logger: Logger): void {
  for (const listen of [grpc, http]) {
    if (!isLoopback(listen.host))
      logger.warn({ listen: formatListen(listen) }, 'listening beyond loopback without access control');
  }
  if (isInClear(upstream.baseUrl))
    logger.warn({ base_url: upstream.baseUrl }, 'AppSecrets and tokens leave this machine unencrypted');
}
