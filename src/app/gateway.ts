import type { Config } from '../config/config.ts';
import { accessRules } from '../config/exposure.ts';
import type { App } from '../core/tokens/ports.ts';
import type { TokenState } from '../core/tokens/state.ts';
import { Forwarder } from '../gateway/forwarder.ts';
import { Gateway } from '../gateway/gateway.ts';
import { Paths } from '../gateway/paths.ts';
import { systemClock } from '../ops/clock.ts';
import { createGatewayLog } from '../ops/gateway-log.ts';
import type { Logger } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { BusinessApi } from '../wechat/business-api.ts';
import type { AccessInUse } from './access.ts';
import type { Core } from './core.ts';
import { upstreamOptions } from './upstream.ts';

/** What a gateway is put together from. */
export interface GatewayParts {
  readonly config: Config;
  readonly core: Pick<Core, 'registry' | 'tickets' | 'clock'>;
  readonly inUse: Pick<AccessInUse, 'access' | 'gatewayCallers'>;
  readonly metrics: Pick<Metrics, 'gateway'>;
  readonly logger: Logger;
  readonly report: (error: unknown) => void;
}

/** The gateway of a broker. */
export interface GatewayInUse {
  readonly gateway: Gateway;
  /** Takes the apps and rules of another configuration into use. */
  take(next: Pick<Config, 'apps' | 'access'>): void;
  /** Ends every connection to WeChat. */
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
const LIMITS = {
  calls: 2_048,
  callsPerApp: 1_024,
  keptBytes: 64 * MIB,
  keptBytesPerCall: MIB,
  headersTimeoutMs: 60_000,
  stallTimeoutMs: 30_000,
  tokenTimeoutMs: 10_000,
};

/** WeChat's own API, on a broker's core. */
export function createGateway({ config, core, inUse, metrics, logger, report }: GatewayParts): GatewayInUse {
  const { registry, clock } = core;
  const upstream = new BusinessApi(upstreamOptions(config, process.env));
  const paths = new Paths();
  let secrets: ReadonlyMap<string, string> = new Map();
  const take = (next: Pick<Config, 'apps' | 'access'>) => {
    secrets = new Map(next.apps.map(({ appId, secret }: App) => [appId, secret]));
    const rules = accessRules(next)?.rules ?? [];
    paths.state(rules.flatMap(({ paths: stated }) => stated ?? []));
  };
  take(config);
  const currentOf = ({ current }: TokenState) => current?.value ?? '';
  const forwarder = new Forwarder({
    upstream,
    tokenOf(appId, signal) {
      const state = registry.get(appId, { signal });
      return state instanceof Promise ? state.then(currentOf) : currentOf(state);
    },
    async report(appId, token, signal) {
      const { state } = await registry.forceRefresh(appId, { kind: 'token', token, witness: 'broker' }, signal);
      const newest = state.current?.value;
      return newest === token ? undefined : newest;
    },
    secretOf: (appId) => secrets.get(appId),
    clock: systemClock,
    limits: LIMITS,
  });
  const gateway = new Gateway({
    tokens: config.gateway.tokens,
    callers: inUse.gatewayCallers,
    access: inUse.access,
    broker: registry,
    tickets: core.tickets,
    forwarder,
    paths,
    clock,
    overlapMs: config.settings.overlapMs,
    failed: createGatewayLog(logger, systemClock),
    observe: (call) => metrics.gateway.ended(call),
    report,
  });
  return { gateway, take, close: () => upstream.close() };
}
