import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Config } from '../config/config.ts';
import { formatListen } from '../config/listen.ts';
import { drainingError } from '../core/kernel/errors.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { Ledger, NewPermit } from '../core/messages/ports.ts';
import { Sender } from '../core/messages/sender.ts';
import { Broker } from '../core/tokens/broker.ts';
import { AdminService } from '../gen/lingpai/v1/admin_pb.js';
import { MessageService } from '../gen/lingpai/v1/message_pb.js';
import { TokenService } from '../gen/lingpai/v1/token_pb.js';
import { systemClock } from '../ops/clock.ts';
import { errorFields, type Logger, logEvent } from '../ops/log.ts';
import { logMessageEvent } from '../ops/message-log.ts';
import { createMetrics } from '../ops/metrics.ts';
import { openFilesLimit } from '../ops/open-files.ts';
import { startPurge } from '../ops/purge.ts';
import { systemRandom } from '../ops/random.ts';
import { startSweep } from '../ops/sweep.ts';
import { takingTurns } from '../ops/turns.ts';
import { adminService } from '../rpc/admin-service.ts';
import { toConnectError } from '../rpc/errors.ts';
import { messageService } from '../rpc/message-service.ts';
import { standardServices } from '../rpc/standard-services.ts';
import { withStreamControl } from '../rpc/stream-control.ts';
import { tokenService } from '../rpc/token-service.ts';
import { TOKEN_LIMITS } from '../rpc/validate.ts';
import { MESSAGE_LIMITS } from '../rpc/validate-message.ts';
import { connectionLimits, type Refusal } from '../server/connections.ts';
import { drain } from '../server/drain.ts';
import { startGrpc } from '../server/grpc.ts';
import { startHttp } from '../server/http.ts';
import { openStore, parseStoreUrl } from '../store/open.ts';
import { WeChatClient } from '../wechat/client.ts';
import { Failure } from './exit.ts';
import { storeTroubleLog } from './store-trouble.ts';
import { isInClear, upstreamOptions } from './upstream.ts';

/** A broker that serves. */
export interface Running {
  /** The addresses as `host:port`, with the real ports. */
  readonly grpc: string;
  readonly http: string;
  /** The name of this process among replicas; undefined: it shares nothing. */
  readonly replica: string | undefined;
  /** Takes the apps and secrets of another configuration into use. */
  reload(config: Config): void;
  /** Drains as DESIGN.md says, and resolves when nothing is left; within 25 s. */
  stop(): Promise<void>;
}

/** The caps of connections as the log names them: of the listener, and of one address. */
const CAPS = { inAll: 'listener', perPeer: 'peer' } as const;

/**
 * Puts a broker together and starts it. Rejects with a Failure that says what stands in the way.
 * `onDeposit`: told of each permit that was deposited and was not known.
 */
export async function runBroker(
  config: Config,
  logger: Logger,
  onDeposit?: (appId: string, permit: NewPermit) => void,
): Promise<Running> {
  const url = parseStoreUrl(config.store.url);
  if ('error' in url) throw new Failure(`store.url: ${url.error}`, 2);
  await using undo = new AsyncDisposableStack();
  const report = (error: unknown) => logger.error(errorFields(error), 'unexpected error');
  const onDamage = (error: Error) => logger.error(errorFields(error), 'a stored record cannot be read');
  const { store, ledger, shared, file } = await failing(
    openStore(url, { clock: systemClock, random: systemRandom, onDamage }),
  );
  undo.defer(() => store.close());
  const recover = async (owner: string) => {
    const unknown = await ledger.recover(broker.clock.now(), owner);
    if (unknown > 0) logger.warn({ messages: unknown }, 'a process that ended left messages of unknown fate');
  };
  const replica = shared ? `${hostname()}-${randomBytes(4).toString('hex')}` : '';
  let grpcAddress = '';

  const metrics = createMetrics({
    states: () => broker.states(),
    watchers: () => broker.watchers,
    cluster: () => broker.cluster(),
    now: () => broker.clock.now(),
  });
  const wechat = new WeChatClient({
    ...upstreamOptions(config, process.env),
    observe: (call) => metrics.upstream(call),
  });
  undo.defer(() => wechat.close());
  const broker = new Broker(
    {
      clock: systemClock,
      random: systemRandom,
      wechat,
      store,
      observe: (event) => {
        metrics.observe(event);
        logEvent(logger, event);
      },
      cluster: shared && {
        store: shared,
        replica,
        get address() {
          return grpcAddress;
        },
        ...config.cluster,
        onDeath: (dead) =>
          recover(dead).catch((error) => {
            logger.warn({ ...errorFields(error), replica: dead }, 'messages of a dead replica are not settled yet');
            throw error;
          }),
        onLeave: async () => {
          if (sender.busy) throw new Error('messages are under way');
          await recover(replica);
        },
      },
    },
    config.settings,
  );
  // What tokens age by, messages do too: where replicas share a store, not the clock of this machine.
  const { clock } = broker;
  const sender = new Sender(
    {
      clock,
      random: systemRandom,
      api: wechat,
      ledger,
      tokens: {
        get: (appId, options) => broker.get(appId, options),
        forceRefresh: (appId, rejected) => broker.forceRefresh(appId, { ...rejected, witness: 'broker' }),
      },
      owner: replica,
      isOther: (name) => broker.isOther(name),
      digest: (text) => createHash('sha256').update(text).digest('base64url'),
      newId: randomUUID,
      observe: (event) => {
        metrics.messages.observe(event);
        logMessageEvent(logger, event);
      },
    },
    config.messages,
  );
  undo.defer(() => broker.stop());
  await failing(broker.start(config.apps));

  const toError = (error: unknown) => toConnectError(error, report);
  // Where there is one process it is the one before that died; where there are several, who died shows when a lease has passed.
  if (!shared) await failing(recover(''));
  const draining = new AbortController();
  const pause = takingTurns();
  const mount = {
    services: [
      {
        desc: TokenService,
        impl: tokenService({
          broker,
          clock: broker.clock,
          stallTimeoutMs: config.watch.stallTimeoutMs,
          onOperator: (appId) => sender.tryAgain(appId),
          propagation: (ms) => metrics.propagation(ms),
        }),
        limits: TOKEN_LIMITS,
      },
      {
        desc: MessageService,
        impl: messageService({
          sender: { send: (message, signal) => metrics.messages.track(sender.send(message, signal)) },
          ledger: onDeposit ? telling(ledger, onDeposit) : ledger,
          clock,
          requireApp: (appId) => broker.requireApp(appId),
          newId: randomUUID,
          maxPermits: config.messages.maxPermits,
          reviewWords: config.reviewWords,
          pause,
          streamLimit: config.messages.concurrency,
          draining: draining.signal,
          toError,
          report,
        }),
        limits: MESSAGE_LIMITS,
      },
      {
        desc: AdminService,
        impl: adminService({
          broker,
          clock,
          propagation: () => metrics.propagationSummary(),
          shutChannels: (appId) => sender.shutChannels(appId),
          pause,
        }),
      },
    ],
    toError,
    streamValues: withStreamControl,
    rpc: (method: string, code: string, durationMs: number) => metrics.rpc(method, code, durationMs),
    report,
    clock,
    pause,
    stallTimeoutMs: config.watch.stallTimeoutMs,
  };
  const limits = connectionLimits(openFilesLimit());
  const onRefused = (listener: string) => (refusal: Refusal) => {
    const { cap, connections, peer, refused } = refusal;
    logger.warn({ listener, cap: CAPS[cap], connections, peer, refused }, 'connections refused');
  };
  const standard = standardServices(mount.services);
  const grpc = await failing(
    startGrpc({
      ...mount,
      services: [...mount.services, ...standard.services],
      health: standard.health,
      listen: config.grpc,
      connections: limits.grpc,
      onRefused: onRefused('grpc'),
    }),
  );
  undo.defer(() => grpc.stop());
  grpcAddress = reachable(grpc.address);
  const pages = { contentType: metrics.contentType, metrics: () => metrics.text() };
  const http = await failing(
    startHttp({
      ...mount,
      listen: config.http,
      hosts: config.http.hosts,
      limits: limits.http,
      onRefused: onRefused('http'),
      stallTimeoutMs: config.watch.stallTimeoutMs,
      states: () => broker.states(),
      metrics: pages,
    }),
  );
  undo.defer(() => http.stop());
  const listeners = [grpc, http];
  for (const listener of listeners) listener.setServing(true);
  for (const listen of [config.grpc, config.http]) {
    if (!isLoopback(listen.host)) {
      logger.warn({ listen: formatListen(listen) }, 'listening beyond loopback without access control');
    }
  }
  if (isInClear(config.upstream.baseUrl)) {
    logger.warn({ base_url: config.upstream.baseUrl }, 'AppSecrets and tokens leave this machine unencrypted');
  }
  const lookAtStore = file && storeTroubleLog({ store: file.path, trouble: file.trouble }, logger);
  const sweep = startSweep(() => {
    broker.sweep();
    lookAtStore?.().catch(report);
  }, report);
  const purge = startPurge({
    purge: () => ledger.purge(clock.now()),
    onDone: (purged) => logger.info(purged, 'expired keys and permits forgotten'),
    onError: report,
  });
  const running = undo.move();
  return {
    grpc: grpc.address,
    http: http.address,
    replica: replica || undefined,
    reload({ apps }) {
      broker.configure(apps);
      sender.tryAgain();
    },
    async stop() {
      sweep.stop();
      purge.stop();
      draining.abort(drainingError());
      await drain({ listeners, messages: sender, broker, clock });
      await running.disposeAsync();
    },
  };
}

/** A ledger that tells of each permit which is new to it. */
function telling(
  ledger: Ledger,
  onDeposit: (appId: string, permit: NewPermit) => void,
): Pick<Ledger, 'deposit' | 'count'> {
  return {
    count: (appId, toUser, now) => ledger.count(appId, toUser, now),
    async deposit(appId, permits, limit) {
      let deposited = 0;
      // One at a time, since the ledger says how many were new and not which.
      for (const permit of permits) {
        const outcome = await ledger.deposit(appId, [permit], limit);
        if (outcome === 'full') return 'full';
        if (outcome.deposited === 0) continue;
        deposited++;
        onDeposit(appId, permit);
      }
      return { deposited, duplicates: permits.length - deposited };
    },
  };
}

/** An address by which other machines may find this one, where it listens on all of its own. */
function reachable(address: string): string {
  return address.replace(/^(0\.0\.0\.0|\[::\]):/, `${hostname()}:`);
}

/** What an operator can mend is told without a stack. */
async function failing<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message : String(error));
  }
}
