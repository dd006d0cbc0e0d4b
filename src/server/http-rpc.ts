import type { IncomingMessage, ServerResponse } from 'node:http';
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { MAX_MESSAGE_BYTES, type RequestLimit } from '../transport/service.ts';
import { Bodies } from './bodies.ts';
import type { Listed } from './door.ts';
import { type Answers, type Responder, say, sayError } from './http-answers.ts';
import { readBody } from './http-body.ts';
import { type Caller, gate, HttpCall, recorded } from './http-call.ts';
import { clampTimeouts } from './http-timeout.ts';
import type { Mount } from './mount.ts';

type Handler = ReturnType<typeof createConnectRouter>['handlers'][number];

/** What the bodies of all requests may hold at once, beyond the first 4 KiB of each. */
const BODIES_BYTES = 8 * 1024 * 1024;

/** Content types that a method takes, the first of them for a person with curl. */
const TYPES = {
  unary: ['application/json', 'application/proto', 'application/grpc-web+proto'],
  streaming: ['application/connect+json', 'application/connect+proto', 'application/grpc-web+proto'],
} as const;

/** Every mounted RPC as Connect (JSON and binary) and gRPC-Web. */
export function rpcs(mount: Mount, answers: Answers): Listed<Responder>[] {
  const router = createConnectRouter({
    grpc: false,
    interceptors: [recorded],
    requestGate: gate,
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  for (const { desc, impl } of mount.services) router.service(desc, impl);
  const bodies = new Bodies(BODIES_BYTES);
  return router.handlers.map((handler) => {
    const { limits, open } = mount.services.find(({ desc }) => desc.typeName === handler.method.parent.typeName) ?? {};
    const { localName } = handler.method;
    const needs = { mount, answers, bodies, limit: limits?.[localName] ?? { bytes: MAX_MESSAGE_BYTES } };
    const responder: Responder = {
      answer: (request, response, caller) => void answer(handler, request, response, caller, needs),
      refuse: (request, response, refusal) => void answer(handler, request, response, { refusal }, needs),
    };
    return [handler.requestPath, responder, open?.has(localName)];
  });
}

/** connectNodeAdapter, but that requests of the wrong form are told what to send, and that faults go to our log. */
async function answer(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
  caller: Caller,
  { mount, answers, bodies, limit }: { mount: Mount; answers: Answers; bodies: Bodies; limit: RequestLimit },
): Promise<void> {
  const call = new HttpCall(handler.requestPath.slice(1), response, caller, mount, answers);
  if (misses(handler, request, response, call)) return answers.complete(response);
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

/** Answers a request that no protocol takes, with what to send, or why it is refused. False: one takes it. */
function misses(
  { method, ...handler }: Handler,
  { headers, method: verb }: IncomingMessage,
  response: ServerResponse,
  call: HttpCall,
): boolean {
  const types = TYPES[method.methodKind === 'unary' ? 'unary' : 'streaming'];
  const isBidi = method.methodKind === 'bidi_streaming';
  const isTaken = verb === 'POST' && handler.supportedContentType(headers['content-type'] ?? '');
  if (isTaken && !isBidi) return false;
  if (call.refusal) sayError(response, call.failed(call.refusal));
  else if (isBidi) say(response, 505, `${method.name} needs HTTP/2: call it on the gRPC port`, { connection: 'close' });
  else if (verb !== 'POST') say(response, 405, 'use POST', { allow: 'POST' });
  else {
    const known = types.join(', ');
    say(response, 415, `send the header "content-type: ${types[0]}" (${known} are taken)`, { 'accept-post': known });
  }
  return true;
}
