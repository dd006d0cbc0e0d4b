import type { buildConnector, Dispatcher } from 'undici';
import { Pool, ProxyAgent } from 'undici';

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
}

/** Opens no connection yet. Those that requests open are kept alive for the next ones, but none is idle for more than 4 s. */
export function openConnections({ origin, proxy, timeoutMs, most }: ConnectionOptions): Dispatcher {
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
