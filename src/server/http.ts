import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { AuditedCall } from '../core/access/ports.ts';
import type { TokenState } from '../core/tokens/state.ts';
import { peerName } from '../transport/peer.ts';
import { type Connection, type ConnectionLimits, Connections, type Refusal } from './connections.ts';
import { Arrival, Door, type Entered } from './door.ts';
import { guard } from './guard.ts';
import { Answers, type Responder, say } from './http-answers.ts';
import { rpcs } from './http-rpc.ts';
import { HttpSockets } from './http-sockets.ts';
import { listen } from './listen.ts';
import type { Listen, Listener, Mount } from './mount.ts';
import { type MetricsSource, notFound, pageOf, pages, pathOf } from './pages.ts';
import { Handshakes, letIn, serverOptions, takeTls } from './tls.ts';
import { within } from './within.ts';

/** What the HTTP listener serves besides RPCs, and how much it bears. */
export interface HttpOptions extends Mount {
  readonly listen: Listen;
  readonly limits: ConnectionLimits;
  /** Told now and then that a connection was refused. */
  readonly onRefused: (refusal: Refusal) => void;
  /** How long a complete answer may stay unread. */
  readonly stallTimeoutMs: number;
  /** The state of every app, for `/readyz?apps`. */
  readonly states: () => Iterable<TokenState>;
  /** For `/metrics`. */
  readonly metrics: MetricsSource;
  /** Throws unless the caller may know of every app how it is. Default: everyone may. */
  readonly requireStatus?: (call: AuditedCall) => void;
}

/** How long a connection may take to its first request, or go without the next. */
const IDLE_MS = 10_000;
/** These bound how long a request may take to arrive, and how much its head may hold; a stream's answer may take for ever. */
const ARRIVAL = { headersTimeout: 10_000, requestTimeout: 60_000, maxHeaderSize: 8_192 };

/**
 * Serves every mounted RPC as Connect (JSON and binary) and gRPC-Web, and `/livez`, `/readyz` and `/metrics`. It sends no
 * CORS headers: the answers are secrets, and no web page of another origin is to read them.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startHttp(options: HttpOptions): Promise<Listener> {
  const { clock, limits, onRefused, stallTimeoutMs, tls } = options;
  let serving = false;
  const answers = new Answers(clock, stallTimeoutMs);
  const connections = new Connections({ limits, onRefused, clock, idleMs: IDLE_MS });
  const sockets = new HttpSockets();
  const { metrics, report, states, toError, requireStatus = () => {} } = options;
  const found = pages({ serving: () => serving, states, metrics, report, answers, toError, requireStatus });
  const door = new Door<Responder>([...found, ...rpcs(options, answers)], options);
  const elsewhere = notFound(options.services);
  const come = (request: IncomingMessage, response: ServerResponse, waits = false) => {
    // Node looks whether anyone listens for the error of a caller that left, and tells it a tick later, when the one who
    // did may have gone: without a listener it would end the process.
    request.on('error', () => {});
    if (!sockets.begin(request.socket, response)) return;
    const path = pageOf(pathOf(request), request);
    const refuse = (status: number, text: string) => {
      say(response, status, text);
      answers.complete(response);
    };
    const { method, headers } = request;
    const objection = objectionTo(method, headers.host, headers, path);
    if (objection) return refuse(objection.status, objection.text);
    const { rawHeaders, socket } = request;
    const entered = door.enter({ path, headers, rawHeaders, socket });
    if (!entered) return refuse(404, elsewhere);
    const begin = (known: Entered<Responder>) => {
      const { answer } = known;
      if ('refusal' in known) answer.refuse(request, response, toError(known.refusal));
      else {
        if (waits) response.writeContinue();
        answer.answer(request, response, { caller: known.principal, peer: peerName(socket) });
      }
    };
    if (entered instanceof Arrival) {
      response.once('close', () => entered.leave());
      entered.onKnown(begin);
    } else begin(entered);
  };
  const secured = tls && createHttpsServer({ ...ARRIVAL, ...serverOptions(tls, 'http/1.1') });
  const handshakes = secured && new Handshakes(secured, tls, clock);
  const server = secured ?? createServer(ARRIVAL);
  server.on('request', (request, response) => come(request, response));
  // With "Expect: 100-continue" the body waits to be asked for, and Node by itself would ask whoever calls.
  server.on('checkContinue', (request, response) => come(request, response, true));
  const admit = (socket: Socket, admitted: Connection) => {
    sockets.add(socket, admitted);
    return undefined;
  };
  letIn(server, connections, admit, handshakes);
  const address = await listen(server, options.listen, 'http.listen');
  const objectionTo = guard({ ...options, server, isSecure: tls !== undefined });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => server.close(() => resolve()));
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
    paths: door.paths,
    setServing: (value) => {
      serving = value;
    },
    setTls: (next) => takeTls(handshakes, next),
    drain: async (limitMs) => {
      await within(clock, limitMs, close());
      await stop();
    },
    stop,
  };
}
