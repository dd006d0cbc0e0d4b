import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock } from '../core/kernel/clock.ts';
import { type Connection, type ConnectionLimits, Connections, type Refusal, type Tally } from './connections.ts';
import { guard, type Objection } from './guard.ts';
import { HttpSockets } from './http-sockets.ts';
import { listen } from './listen.ts';
import type { Listen, Listener } from './mount.ts';
import { Handshakes, letIn, serverOptions, type Tls, takeTls } from './tls.ts';
import { within } from './within.ts';

/** What a listener of HTTP/1.1 is made of, whatever it serves. */
export interface HttpListenerOptions {
  readonly listen: Listen;
  /** The configuration key to speak of where it cannot listen: `http.listen`. */
  readonly setting: string;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  /** Counts connections whose answers last. Default: `limits` are theirs too. */
  readonly lasting?: Tally;
  /** Told now and then that a connection was refused. */
  readonly onRefused: (refusal: Refusal) => void;
  /** Names that it answers to besides loopback's; see `guard`. Default: none. */
  readonly hosts?: readonly string[];
  /** Serves nothing that a proxy passes on. Default: false. */
  readonly refuseForwarded?: boolean;
  /** Default: none. */
  readonly tls?: Tls | undefined;
  /** Default: those of requests that are one message. */
  readonly arrival?: Arriving;
  /** For how long requests that have not come whole may hold up a drain, in milliseconds. Default: as long as others. */
  readonly lettingGoMs?: number;
  /** The path of a request, as `guard` and `serve` are to know it. */
  readonly pathOf: (request: IncomingMessage) => string;
  /** Answers a request. It must not throw. */
  readonly serve: (arrived: Arrived) => void;
  /** Answers one that the guard objects to. */
  readonly object: (arrived: Arrived, objection: Objection) => void;
}

/** What bounds how requests arrive. */
export interface Arriving {
  /** How long a connection may take to its first request, or go without the next, in milliseconds. */
  readonly idleMs: number;
  /** After how long without a request Node ends a connection; callers are told. Less than `idleMs`. */
  readonly keepAliveMs: number;
  /** How long a head may take to arrive. */
  readonly headMs: number;
  /** How long a request may take, its body included. An answer may take for ever. */
  readonly requestMs: number;
  /** How much a head may hold. */
  readonly headBytes: number;
}

/** A request that has arrived, with its head. */
export interface Arrived {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  /** Has the body sent, where the caller waits to be asked for it ("Expect: 100-continue"). */
  readonly proceed: () => void;
  /** The caller is let in, and the answer lasts: its connection is no stranger's until what this returns is called. */
  readonly lasts: () => () => void;
}

const ARRIVING: Arriving = {
  idleMs: 10_000,
  keepAliveMs: 5_000,
  headMs: 10_000,
  requestMs: 60_000,
  headBytes: 8_192,
};

/**
 * Listens for HTTP/1.1, with TLS or without: counts connections, ends those that are idle or do not read, refuses what web pages
 * smuggle in, and drains. What is served is `serve`'s affair. Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function listenHttp(options: HttpListenerOptions): Promise<Omit<Listener, 'paths' | 'setServing'>> {
  const {
    clock,
    limits,
    lasting,
    onRefused,
    tls,
    arrival = ARRIVING,
    lettingGoMs = Number.POSITIVE_INFINITY,
  } = options;
  const { pathOf, serve, object } = options;
  const connections = new Connections({ limits, lasting, onRefused, clock, idleMs: arrival.idleMs });
  const sockets = new HttpSockets();
  const come = (request: IncomingMessage, response: ServerResponse, waits = false) => {
    // Node looks whether anyone listens for the error of a caller that left, and tells it a tick later, when the one who
    // did may have gone: without a listener it would end the process.
    request.on('error', () => {});
    if (!sockets.begin(request, response)) return;
    const path = pathOf(request);
    const proceed = () => {
      if (waits) response.writeContinue();
    };
    const lasts = () => sockets.lasts(request.socket);
    const arrived = { request, response, path, proceed, lasts };
    const objection = hasTwoHosts(request.rawHeaders)
      ? TWO_HOSTS
      : objectionTo(request.method, request.headers.host, request.headers, path);
    if (objection) object(arrived, objection);
    else serve(arrived);
  };
  const bounds = boundsOf(arrival);
  const secured = tls && createHttpsServer({ ...bounds, ...serverOptions(tls, 'http/1.1') });
  const handshakes = secured && new Handshakes(secured, tls, clock);
  const server = secured ?? createServer(bounds);
  server.on('request', (request, response) => come(request, response));
  // With "Expect: 100-continue" the body waits to be asked for, and Node by itself would ask whoever calls.
  server.on('checkContinue', (request, response) => come(request, response, true));
  const admit = (socket: Socket, admitted: Connection) => {
    sockets.add(socket, admitted);
    return undefined;
  };
  letIn(server, connections, admit, handshakes);
  const address = await listen(server, options.listen, options.setting);
  const objectionTo = guard({ ...options, server, isSecure: tls !== undefined });
  let closed: Promise<void> | undefined;
  // Node calls idle whatever has its whole answer, which may wait for its reader still, and would cut it. `retire` knows.
  server.closeIdleConnections = () => {};
  const close = () => {
    closed ??= new Promise((resolve) => server.close(() => resolve()));
    connections.retire();
    handshakes?.stop();
    return closed;
  };

  async function stop(): Promise<void> {
    const done = close();
    server.closeAllConnections();
    await done;
  }

  return {
    address,
    setTls: (next) => takeTls(handshakes, next),
    drain: async (limitMs) => {
      const end = clock.monotonic() + limitMs;
      const done = close();
      if (!(await within(clock, Math.min(lettingGoMs, limitMs), done))) {
        sockets.resetUnfinished();
        await within(clock, end - clock.monotonic(), done);
      }
      await stop();
    },
    stop,
  };
}

const TWO_HOSTS: Objection = { status: 400, text: 'the request has more than one Host header' };

/** Node takes the first, and another reader may take another. */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  return hosts > 1;
}

function boundsOf({ keepAliveMs, headMs, requestMs, headBytes }: Arriving): ServerOptions {
  return {
    keepAliveTimeout: keepAliveMs,
    headersTimeout: headMs,
    requestTimeout: requestMs,
    maxHeaderSize: headBytes,
  };
}
