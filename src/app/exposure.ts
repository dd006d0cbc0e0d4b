import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Config } from '../config/config.ts';
import { accessMode, exposureOf, exposureProblems } from '../config/exposure.ts';
import { formatListen } from '../config/listen.ts';
import { ConfigError, formatPath } from '../config/problem.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { Logger } from '../ops/log.ts';
import { isInClear } from './upstream.ts';

/** Finds the addresses of a name. */
export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

const systemLookup: Lookup = (host) => lookup(host, { all: true });

/**
 * Rejects with a ConfigError where a broker does not serve so: what counts is where its names lead, not what they are called. A
 * name that leads nowhere is let through: to listen on it will say so.
 */
export async function refuseExposure(config: Config, find: Lookup = systemLookup): Promise<void> {
  const exposure = exposureOf(config);
  const listeners = exposure.listeners.map(async ({ setting, listen }) => {
    const found = isIP(listen.host) ? [] : await find(listen.host).catch(() => []);
    const beyond = found.find(({ address }) => !isLoopback(address));
    return { setting, listen: { ...listen, host: beyond?.address ?? listen.host } };
  });
  const problems = exposureProblems({ ...exposure, listeners: await Promise.all(listeners) });
  if (problems.length === 0) return;
  throw new ConfigError(
    config.path,
    problems.map(({ at, message }) => ({ path: formatPath(at), message })),
  );
}

/** Warns of what a configuration lets others reach or read. */
export function warnOfExposure(config: Config, logger: Logger): void {
  const { upstream, tls } = config;
  for (const { listen } of exposureOf(config).listeners) {
    if (isLoopback(listen.host)) continue;
    if (accessMode(config) === 'open')
      logger.warn({ listen: formatListen(listen) }, 'listening beyond loopback without access control');
    else if (tls === 'off') logger.warn({ listen: formatListen(listen) }, 'keys and tokens are sent without TLS');
  }
  if (isInClear(upstream.baseUrl))
    logger.warn({ base_url: upstream.baseUrl }, 'AppSecrets and tokens leave this machine unencrypted');
}
