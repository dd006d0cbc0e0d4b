import type { Config } from '../config/config.ts';
import { formatListen } from '../config/listen.ts';
import { loadConfig } from '../config/load.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { NewPermit } from '../core/messages/ports.ts';
import { systemClock } from '../ops/clock.ts';
import type { Logger } from '../ops/log.ts';
import { systemRandom } from '../ops/random.ts';
import { startSandbox } from '../sandbox/server.ts';
import type { Listen } from '../server/mount.ts';
import { type Running, runBroker } from './run.ts';
import { starting } from './start-error.ts';

/** A broker that serves, and the simulated WeChat that it asks. */
export interface RunningDemo extends Pick<Running, 'grpc' | 'http' | 'gateway' | 'access' | 'stop'> {
  /** Where the simulated WeChat is: `http://127.0.0.1:7690`. */
  readonly sandbox: string;
}

const SECRET = 'demo';
const APPS = [
  { appId: 'wxdemoclassic', issuer: 'classic', lifetimeMs: 60_000 },
  { appId: 'wxdemostable', issuer: 'stable', lifetimeMs: 60_000 },
] as const;
/** Short, so that there is something to see; WeChat's is 5 minutes. */
const OVERLAP_MS = 20_000;
const PLENTY = 10_000_000;
const QUOTAS = {
  classicPerDay: PLENTY,
  classicPerMinute: PLENTY,
  stablePerDay: PLENTY,
  stablePerMinute: PLENTY,
  forcedPerDay: PLENTY,
};

/** Starts a simulated WeChat and a broker for two of its apps. Rejects with a StartError, and leaves nothing. */
export async function runDemo(
  listen: Record<'grpc' | 'http' | 'gateway' | 'sandbox', Listen>,
  logger: Logger,
): Promise<RunningDemo> {
  await using undo = new AsyncDisposableStack();
  const apps = APPS.map(({ appId, lifetimeMs }) => {
    return { appId, secret: SECRET, lifetimeMs, overlapMs: OVERLAP_MS, quotas: QUOTAS };
  });
  const starts = startSandbox({ listen: listen.sandbox, clock: systemClock, random: systemRandom, apps });
  const sandbox = undo.adopt(await starting(starts), (started) => started.close());
  // As in life: who agrees to messages tells WeChat and the service at once, and what the service deposits is what WeChat knows.
  const onDeposit = (appId: string, permit: NewPermit) => sandbox.wechat.messages(appId).permits.add(permit);
  const config = await configOf(listen, sandbox.url);
  const { grpc, http, gateway, access, stop } = await runBroker(config, logger, onDeposit);
  const rest = undo.move();
  return {
    grpc,
    http,
    gateway,
    access,
    sandbox: sandbox.url,
    async stop() {
      try {
        await stop();
      } finally {
        await rest.disposeAsync();
      }
    },
  };
}

function configOf(
  { grpc, http, gateway }: Record<'grpc' | 'http' | 'gateway', Listen>,
  baseUrl: string,
): Promise<Config> {
  // The tokens are of a simulated WeChat, and who names another address means it.
  const isExposed = [grpc, http, gateway].some(({ host }) => !isLoopback(host));
  const config = {
    ...(isExposed && { access: 'open' }),
    grpc: { listen: formatListen(grpc) },
    http: { listen: formatListen(http) },
    gateway: { listen: formatListen(gateway) },
    store: { url: 'memory:' },
    upstream: { base_url: baseUrl, overlap: `${OVERLAP_MS}ms` },
    refresh: { stable_poll: '2s', cooldown: '5s', probe_interval: '10s', daily_budget: 10_000 },
    apps: APPS.map(({ appId, issuer }) => ({ app_id: appId, secret: SECRET, issuer })),
  };
  return loadConfig('demo', {}, { read: async () => JSON.stringify(config) });
}
