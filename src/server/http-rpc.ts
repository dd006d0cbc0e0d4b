import type { IncomingMessage, ServerResponse } from 'node:http';
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { Bodies } from './bodies.ts';
import { type Answers, say } from './http-answers.ts';
import { readBody } from './http-body.ts';
import { HttpCall, recorded, refuseCompressed } from './http-call.ts';
import { clampTimeouts } from './http-timeout.ts';
import { MAX_MESSAGE_BYTES, type Mount, type RequestLimit } from './mount.ts';

type Handler = ReturnType<typeof createConnectRouter>['handlers'][number];

/** What the bodies of all requests may hold at once, beyond the first 4 KiB of each. */
const BODIES_BYTES = 8 * 1024 * 1024;

/** Content types that a method takes, the first of them for a person with curl. */
const TYPES = {
  unary: ['application/json', 'application/proto', 'application/grpc-web+proto'],
  streaming: ['application/connect+json', 'application/connect+proto', 'application/grpc-web+proto'],
} as const;

/** Answers the RPC at a path; undefined: there is none. */
export type Rpcs = (path: string) => ((request: IncomingMessage, response: ServerResponse) => void) | undefined;

/** Every mounted RPC as Connect (JSON and binary) and gRPC-Web. */
export function rpcs(mount: Mount, answers: Answers): Rpcs {
  const router = createConnectRouter({
    grpc: false,
    interceptors: [recorded],
    requestGate: refuseCompressed,
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  for (const { desc, impl } of mount.services) router.service(desc, impl);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const bodies = new Bodies(BODIES_BYTES);
  return (path) => {
    const handler = handlers.get(path);
    if (!handler) return undefined;
    const limit = limitOf(mount, handler);
    return (request, response) => void answer(handler, request, response, { mount, answers, bodies, limit });
  };
}

function limitOf({ services }: Mount, { method }: Handler): RequestLimit {
  const service = services.find(({ desc }) => desc.typeName === method.parent.typeName);
  return service?.limits?.[method.localName] ?? { bytes: MAX_MESSAGE_BYTES };
}

/** connectNodeAdapter, but that requests of the wrong form are told what to send, and that faults go to our log. */
async function answer(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
  { mount, answers, bodies, limit }: { mount: Mount; answers: Answers; bodies: Bodies; limit: RequestLimit },
): Promise<void> {
  const call = new HttpCall(handler.requestPath.slice(1), response, mount, answers);
  if (misses(handler, request, response)) return answers.complete(response);
  try {
    const universal = universalRequestFromNodeRequest(request, response, undefined, call.values());
    clampTimeouts(universal.header);
    const share = bodies.share();
    response.once('close', share.release);
    const body = (async function* () {
      try {
        yield await readBody(request, { share, method: handler.method, limit });
      } catch (error) {
        // What is left of the body is not worth reading.
        response.shouldKeepAlive = false;
        // A caller that left is nobody's fault.
        throw request.errored ? new ConnectError('the caller left', Code.Canceled) : call.failed(error);
      }
    })();
    await universalResponseToNodeResponse(await handler({ ...universal, body }), response);
  } catch (error) {
    // Nor is one that could not be answered since its connection is gone.
    if (!request.socket.destroyed) mount.report(error);
    if (response.headersSent) response.destroy();
    else say(response, 500, 'the broker failed; its log has the cause');
  }
}

/** Answers a request that no protocol takes, with what to send. False: one does. */
function misses({ method, ...handler }: Handler, { headers, method: verb }: IncomingMessage, response: ServerResponse) {
  const types = TYPES[method.methodKind === 'unary' ? 'unary' : 'streaming'];
  if (method.methodKind === 'bidi_streaming')
    say(response, 505, `${method.name} needs HTTP/2: call it on the gRPC port`, { connection: 'close' });
  else if (verb !== 'POST') say(response, 405, 'use POST', { allow: 'POST' });
  else if (!handler.supportedContentType(headers['content-type'] ?? '')) {
    const known = types.join(', ');
    say(response, 415, `send the header "content-type: ${types[0]}" (${known} are taken)`, { 'accept-post': known });
  } else return false;
  return true;
}
