import { isDeepStrictEqual } from 'node:util';
import type { Config, TlsConfig } from '../config/config.ts';
import type { Access } from '../core/access/access.ts';
import type { Principal } from '../core/access/principal.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { TokenState } from '../core/tokens/state.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { Logger } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { openFilesLimit } from '../ops/open-files.ts';
import { toConnectError } from '../rpc/errors.ts';
import { standardServices } from '../rpc/standard-services.ts';
import { connectionLimits, type Refusal, Tally } from '../server/connections.ts';
import { startGateway } from '../server/gateway.ts';
import { startGrpc } from '../server/grpc.ts';
import { startHttp } from '../server/http.ts';
import type { Listener, Mount } from '../server/mount.ts';
import { contextOf, expiryOf } from '../server/tls.ts';
import type { Authenticate, Head } from '../transport/head.ts';
import { peerName } from '../transport/peer.ts';
import type { Service } from '../transport/service.ts';
import { starting } from './start-error.ts';

/** What the listeners serve, and what they need for it. */
export interface ListenerParts {
  readonly config: Pick<Config, 'grpc' | 'http' | 'gateway' | 'watch' | 'tls' | 'access'>;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'rpc' | 'tls' | 'contentType' | 'text'>;
  readonly clock: Clock;
  readonly services: readonly Service[];
  /** WeChat's own API; undefined: it is not served. */
  readonly gateway?: Pick<Gateway, 'answer' | 'object'> | undefined;
  /** The state of every app. */
  readonly states: () => Iterable<TokenState>;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
  /** Told of a fault that no caller can be told of. */
  readonly report: (error: unknown) => void;
  /** Finds out who makes a call. Default: everyone is `local`. */
  readonly authenticate?: Authenticate;
  /** Lets callers in, and says who may see pages and reflection. */
  readonly access: Access;
}

/** The listeners of a broker. */
export interface Listeners {
  readonly grpc: Listener;
  readonly http: Listener;
  /** Undefined: there is none. */
  readonly gateway: Listener | undefined;
  /**
   * Returns what takes certificates that have changed into use, and cannot fail. Throws an Error that says what cannot be used;
   * nothing has changed then.
   */
  prepareTls(tls: Config['tls']): () => void;
  /** Ends all at once. */
  stop(): Promise<void>;
}

/** The caps of connections as the log names them: of the listener, and of one address. */
const CAPS = { inAll: 'listener', perPeer: 'peer' } as const;

/** Starts to listen: gRPC, with its standard services, HTTP, with its pages, and the gateway. Rejects with a StartError. */
export async function startListeners(parts: ListenerParts): Promise<Listeners> {
  const { config, logger, metrics, clock, services, states, pause, report, authenticate, access } = parts;
  const { stallTimeoutMs } = config.watch;
  const mount = {
    services,
    toError: (error) => toConnectError(error, report),
    ...(authenticate && { authenticate: admitting(authenticate, access) }),
    rpc: metrics.rpc,
    report,
    clock,
    pause,
    stallTimeoutMs,
    tls: pairOf(config.tls),
    hosts: config.http.hosts,
    refuseForwarded: config.access === null,
  } satisfies Mount;
  const { listen } = config.gateway;
  const limits = connectionLimits(openFilesLimit(), listen !== null);
  // A stream over HTTP takes a connection, as a client of gRPC does.
  const lasting = new Tally(limits.grpc);
  const onRefused = (listener: string) => (refusal: Refusal) => {
    const { cap, connections, peer, refused } = refusal;
    logger.warn({ listener, cap: CAPS[cap], connections, peer, refused }, 'connections refused');
  };
  const standard = standardServices(services, access);
  await using undo = new AsyncDisposableStack();
  const grpc = await starting(
    startGrpc({
      ...mount,
      services: [...services, ...standard.services],
      health: standard.health,
      listen: config.grpc,
      connections: lasting,
      onRefused: onRefused('grpc'),
    }),
  );
  undo.defer(() => grpc.stop());
  const http = await starting(
    startHttp({
      ...mount,
      listen: config.http,
      limits: limits.http,
      lasting,
      onRefused: onRefused('http'),
      states,
      requireStatus: (call) => access.requireAll(call, 'status'),
      metrics: { contentType: metrics.contentType, metrics: () => metrics.text() },
    }),
  );
  undo.defer(() => http.stop());
  const gateway =
    parts.gateway && listen
      ? await starting(
          startGateway({
            ...mount,
            listen,
            limits: limits.gateway,
            onRefused: onRefused('gateway'),
            gateway: parts.gateway,
          }),
        )
      : undefined;
  if (gateway) undo.defer(() => gateway.stop());
  const all = [grpc, http, ...(gateway ? [gateway] : [])];
  let current = mount.tls;
  if (current) metrics.tls.expires(expiryOf(current.cert));
  const started = undo.move();
  return {
    grpc,
    http,
    gateway,
    prepareTls(tls) {
      const next = pairOf(tls);
      // Whether there is TLS at all is decided at the start.
      if (!current || !next || isDeepStrictEqual(next, current)) return () => {};
      try {
        contextOf(next);
      } catch (error) {
        metrics.tls.reloaded('failed');
        throw error;
      }
      return () => {
        for (const listener of all) listener.setTls(next);
        current = next;
        const expiresAt = expiryOf(next.cert);
        metrics.tls.expires(expiresAt);
        metrics.tls.reloaded('ok');
        logger.info({ expire_time: new Date(expiresAt).toISOString() }, 'certificate reloaded');
      };
    },
    stop: () => started.disposeAsync(),
  };
}

function pairOf(tls: Config['tls']): TlsConfig | undefined {
  return tls === null || tls === 'off' ? undefined : tls;
}

/** Finds out who makes a call, and lets in who is neither blocked nor calls too often. */
function admitting(authenticate: Authenticate, access: Access): Authenticate {
  const admit = (caller: Principal, { socket }: Head) => {
    access.admit(caller, () => peerName(socket));
    return caller;
  };
  return (head) => {
    const caller = authenticate(head);
    return caller instanceof Promise ? caller.then((known) => admit(known, head)) : admit(caller, head);
  };
}
