import type { Config } from '../config/config.ts';
import type { AccessMode } from '../config/exposure.ts';
import { drainingError } from '../core/kernel/errors.ts';
import type { NewPermit } from '../core/messages/ports.ts';
import { systemClock } from '../ops/clock.ts';
import { errorFields, type Logger, onLinesLost } from '../ops/log.ts';
import { createMetrics } from '../ops/metrics.ts';
import { takingTurns } from '../ops/turns.ts';
import { createAccess } from './access.ts';
import { openAudit } from './audit.ts';
import { createCore } from './core.ts';
import { drain } from './drain.ts';
import { refuseExposure, warnOfExposure } from './exposure.ts';
import { createGateway } from './gateway.ts';
import { startListeners } from './listeners.ts';
import { openStore } from './open-store.ts';
import { reachable } from './replica.ts';
import { createServices } from './services.ts';
import { starting } from './start-error.ts';
import { startTasks } from './tasks.ts';
import { createWeChatClient } from './upstream.ts';

/** A broker that serves. */
export interface Running {
  /** The addresses as `host:port`, with the real ports. */
  readonly grpc: string;
  readonly http: string;
  /** Undefined: it is not served. */
  readonly gateway: string | undefined;
  /** The name of this process among replicas; undefined: it shares nothing. */
  readonly replica: string | undefined;
  /** How callers are treated. */
  readonly access: AccessMode;
  /**
   * Takes another configuration into use: apps, secrets, certificates, who may do what. What needs a restart stays as it is. Throws
   * an Error that says what cannot be used; nothing has changed then.
   */
  reload(config: Config): void;
  /** Drains, and resolves when nothing is left; within 25 s. */
  stop(): Promise<void>;
}

/**
 * Puts a broker together and starts it: store, core, services, listeners, tasks. Rejects with a StartError that says what
 * stands in the way, or a ConfigError where it would be exposed, and leaves nothing. `onDeposit`: told of each permit that was deposited and was not known.
 */
export async function runBroker(
  config: Config,
  logger: Logger,
  onDeposit?: (appId: string, permit: NewPermit) => void,
): Promise<Running> {
  await using undo = new AsyncDisposableStack();
  const report = (error: unknown) => logger.error(errorFields(error), 'unexpected error');
  const pause = takingTurns();
  const draining = new AbortController();
  let grpcAddress = '';

  await refuseExposure(config);
  const store = undo.adopt(await starting(openStore(config, logger)), (opened) => opened.close());
  const { ledger } = store;
  const metrics = createMetrics({
    states: () => core.registry.states(),
    tickets: () => core.tickets.states(),
    watchers: () => core.registry.watchers,
    cluster: () => core.cluster?.status(),
    now: () => core.clock.now(),
  });
  onLinesLost(logger, metrics.logLost);
  const opening = openAudit(config.audit, { logger, metrics: metrics.access });
  const audit = undo.adopt(await opening, ({ close }) => close());
  const wechat = undo.adopt(
    createWeChatClient(config, (call) => metrics.upstream(call)),
    (client) => client.close(),
  );

  const address = () => grpcAddress;
  const core = undo.adopt(createCore({ config, logger, metrics, wechat, store, address }), ({ stop }) => stop());
  await core.start();
  const { registry, clock, sender, tickets, replica } = core;
  const accessParts = { clock: systemClock, audit, metrics: metrics.access, logger, pause };
  const inUse = undo.use(createAccess(config, accessParts));
  const { access, authenticate, mode } = inUse;
  audit.loaded(config, inUse.keys);

  const signal = draining.signal;
  const serviceParts = { config, metrics, audit, core, access, ledger, onDeposit, draining: signal, pause, report };
  const services = createServices(serviceParts);
  const states = () => registry.states();
  const gatewayInUse = config.gateway.listen
    ? createGateway({ config, core, inUse, metrics, logger, report })
    : undefined;
  if (gatewayInUse) undo.defer(() => gatewayInUse.close());
  const { grpc, http, gateway, prepareTls } = undo.adopt(
    await startListeners({
      config,
      logger,
      metrics,
      clock,
      services,
      gateway: gatewayInUse?.gateway,
      states,
      pause,
      report,
      access,
      ...(authenticate && { authenticate }),
    }),
    ({ stop }) => stop(),
  );
  grpcAddress = reachable(grpc.address);
  const listeners = [grpc, http];
  for (const listener of listeners) listener.setServing(true);
  warnOfExposure(config, logger);

  const tasks = undo.adopt(startTasks({ core, store, logger, metrics, pause, report }), ({ stop }) => stop());
  const running = undo.move();
  return {
    grpc: grpc.address,
    http: http.address,
    gateway: gateway?.address,
    replica,
    access: mode,
    reload(next) {
      // All that can fail comes first, so that a configuration is taken whole or not at all.
      const takeTls = prepareTls(next.tls);
      inUse.take(next);
      takeTls();
      registry.configure(next.apps);
      access.changed();
      gatewayInUse?.take(next);
      sender.tryAgain();
      tickets.tryAgain();
      audit.loaded(next, inUse.keys);
    },
    async stop() {
      tasks.stop();
      draining.abort(drainingError());
      const users = { drain: async () => void (await Promise.all([sender.drain(), tickets.stop()])) };
      await drain({ listeners, gateway, users, broker: registry, clock });
      await running.disposeAsync();
    },
  };
}
