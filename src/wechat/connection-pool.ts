import type { buildConnector, Dispatcher } from 'undici';
import { Pool, ProxyAgent } from 'undici';
import type { Clock } from '../core/kernel/clock.ts';

/**
 * How long a connection may be idle and still be used, in milliseconds. Boxes in between forget idle connections without a
 * word, and what is written to a forgotten one is lost: whatever `Keep-Alive: timeout=` promises is not believed.
 */
const MAX_IDLE_MS = 4_000;

/** The proxy itself could not be reached; `cause` says why. */
export class ProxyFault extends Error {
  override readonly name = 'ProxyFault';

  constructor(cause: Error) {
    super('the proxy could not be reached', { cause });
  }
}

/** The connections to one server. */
export interface ConnectionOptions {
  /** Scheme, host and port. */
  readonly origin: string;
  /** As `WeChatClientOptions`. */
  readonly proxy: string | null;
  /** How long connecting may last. */
  readonly timeoutMs: number;
  /** The most that are open at once; further requests wait for one. Null: no limit. */
  readonly most: number | null;
  readonly clock: Clock;
}

/**
 * The connections that requests open, kept alive for later ones. None that was idle for 4 s is used again, also where the machine
 * slept meanwhile.
 */
export class ConnectionPool {
  readonly #options: ConnectionOptions;
  #dispatcher: Dispatcher;
  /** Those that no request is given any more, until the last that they have has ended. */
  readonly #retired = new Set<Dispatcher>();
  /** How far the wall clock is ahead of the monotonic one, which may stand still while the machine sleeps, as timers do. */
  #aheadMs: number;

  /** Opens no connection yet. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#dispatcher = openDispatcher(options);
    this.#aheadMs = aheadMs(options.clock);
  }

  /** As undici's `Dispatcher.dispatch`. */
  dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const before = this.#aheadMs;
    this.#aheadMs = aheadMs(this.#options.clock);
    if (Math.abs(this.#aheadMs - before) >= MAX_IDLE_MS) this.#replace();
    this.#dispatcher.dispatch(request, handler);
  }

  /** Closes every connection, whatever is under way. */
  async close(): Promise<void> {
    await Promise.all([this.#dispatcher, ...this.#retired].map((dispatcher) => dispatcher.destroy()));
  }

  #replace(): void {
    const old = this.#dispatcher;
    this.#dispatcher = openDispatcher(this.#options);
    this.#retired.add(old);
    const forget = (): void => void this.#retired.delete(old);
    old.close().then(forget, forget);
  }
}

function aheadMs(clock: Clock): number {
  return clock.now() - clock.monotonic();
}

function openDispatcher({ origin, proxy, timeoutMs, most }: ConnectionOptions): Dispatcher {
  const shared = {
    connections: most,
    connectTimeout: timeoutMs,
    allowH2: false,
    keepAliveTimeout: MAX_IDLE_MS,
    keepAliveMaxTimeout: MAX_IDLE_MS,
    // A proxy that is asked for a tunnel and says nothing would hold a socket for five minutes, for each call that gave up.
    headersTimeout: timeoutMs,
  };
  if (proxy === null) return new Pool(origin, shared);
  // Left to itself undici tells the connections of requests that a proxy forwards (http://) nothing of these settings.
  const throughTunnel = (to: string | URL, options: object): Dispatcher => new Pool(to, { ...shared, ...options });
  const toProxy = (to: string | URL, options: object): Dispatcher => {
    const { connect } = options as { connect: buildConnector.connector };
    const connectToProxy: buildConnector.connector = (where, done) =>
      connect(where, (...[error, socket]) => (error ? done(new ProxyFault(error), null) : done(null, socket)));
    return new Pool(to, { ...shared, connect: connectToProxy });
  };
  const factory = origin.startsWith('http:') ? toProxy : throughTunnel;
  return new ProxyAgent({ ...shared, uri: proxy, factory, clientFactory: toProxy });
}
