import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import type { TokenState } from '../core/tokens/state.ts';
import { HttpCall, recorded } from './http-call.ts';
import { listen } from './listen.ts';
import { type Listen, type Listener, MAX_MESSAGE_BYTES, type Mount } from './mount.ts';
import { type MetricsSource, pages, pathOf } from './pages.ts';
import { readiness } from './readiness.ts';
import { within } from './within.ts';

/** What the HTTP listener serves besides RPCs. */
export interface HttpOptions extends Mount {
  readonly listen: Listen;
  /** The state of every app, for `/readyz`. */
  readonly states: () => Iterable<TokenState>;
  /** For `/metrics`. */
  readonly metrics: MetricsSource;
}

type Handler = ReturnType<typeof createConnectRouter>['handlers'][number];

/**
 * Serves every mounted RPC as Connect (JSON and binary) and gRPC-Web, and `/livez`, `/readyz` and `/metrics`. It sends no
 * CORS headers: the answers are secrets, and no web page of another origin is to read them.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startHttp(options: HttpOptions): Promise<Listener> {
  let serving = false;
  const handlers = route(options);
  const elsewhere = pages({ ...options, readiness: () => readiness(options.states(), serving) });
  // These bound how long a request may take to arrive; a stream's response may take for ever.
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 60_000 }, (request, response) => {
    const handler = handlers.get(pathOf(request));
    if (handler) answer(handler, request, response, options);
    else elsewhere(request, response);
  });
  const address = await listen(server, options.listen, 'http.listen');
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => server.close(() => resolve()));
    return closed;
  };

  async function stop(): Promise<void> {
    const done = close();
    server.closeAllConnections();
    await done;
  }

  return {
    address,
    setServing: (value) => {
      serving = value;
    },
    drain: async (limitMs) => {
      await within(options.clock, limitMs, close());
      await stop();
    },
    stop,
  };
}

function route(mount: Mount): Map<string, Handler> {
  const router = createConnectRouter({
    grpc: false,
    interceptors: [recorded],
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  for (const { desc, impl } of mount.services) router.service(desc, impl);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** connectNodeAdapter, but that a bad Host header is answered and not thrown, and that faults go to our log. */
async function answer(handler: Handler, request: IncomingMessage, response: ServerResponse, mount: Mount) {
  const call = new HttpCall(handler.requestPath.slice(1), response, mount);
  try {
    const incoming = universalRequestFromNodeRequest(request, response, undefined, call.values());
    await universalResponseToNodeResponse(await handler(incoming), response);
  } catch (error) {
    const left = response.destroyed || ConnectError.from(error).code === Code.Aborted;
    if (!left) mount.report(error);
    if (response.headersSent) response.destroy();
    else
      response.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' }).end('the request is not valid HTTP\n');
  }
}
