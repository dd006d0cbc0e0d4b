import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { MAX_MESSAGE_BYTES, type RequestLimit, type Service } from '../transport/service.ts';
import { Bodies } from './bodies.ts';
import type { Listed } from './door.ts';
import { type Answers, type Responder, say, sayError } from './http-answers.ts';
import { readBody, readRequest } from './http-body.ts';
import { type Caller, gate, HttpCall, recorded } from './http-call.ts';
import { HttpStream, type StreamImpl, type StreamParts } from './http-stream.ts';
import { clampTimeouts } from './http-timeout.ts';
import type { Mount } from './mount.ts';
import { streamFormat } from './stream-format.ts';

type Handler = ReturnType<typeof createConnectRouter>['handlers'][number];

/** What the bodies of all requests may hold at once, beyond the first 4 KiB of each. */
const BODIES_BYTES = 8 * 1024 * 1024;

/** Content types that a method takes, the first of them for a person with curl. */
const TYPES = {
  unary: ['application/json', 'application/proto', 'application/grpc-web+proto'],
  streaming: ['application/connect+json', 'application/connect+proto', 'application/grpc-web+proto'],
} as const;

/** gRPC-Web in base64, which connect knows of and does not take. */
const TEXT = /^application\/grpc-web-text/i;

/** What a request is answered with, and within which bounds. */
interface Rpc {
  readonly handler: Handler;
  readonly mount: Mount;
  readonly answers: Answers;
  readonly bodies: Bodies;
  readonly limit: RequestLimit;
}

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
    const service = mount.services.find(({ desc }) => desc.typeName === handler.method.parent.typeName);
    const { localName, methodKind } = handler.method;
    const impl = methodKind === 'server_streaming' ? implOf(service, localName) : undefined;
    const rpc = {
      handler,
      mount,
      answers,
      bodies,
      limit: service?.limits?.[localName] ?? { bytes: MAX_MESSAGE_BYTES },
    };
    const respond = (request: IncomingMessage, response: ServerResponse, caller: Caller, lasts = () => () => {}) => {
      if (impl) stream({ ...rpc, impl, lasts }, request, response, caller);
      else void answer(rpc, request, response, caller);
    };
    const responder: Responder = {
      answer: respond,
      refuse: (request, response, refusal) => respond(request, response, { refusal }),
    };
    return [handler.requestPath, responder, service?.open?.has(localName)];
  });
}

function implOf(service: Service | undefined, localName: string): StreamImpl | undefined {
  const methods = service?.impl as Readonly<Record<string, StreamImpl | undefined>> | undefined;
  return methods?.[localName]?.bind(methods);
}

/** connectNodeAdapter, but that requests of the wrong form are told what to send, and that faults go to our log. */
async function answer(
  { handler, mount, answers, bodies, limit }: Rpc,
  request: IncomingMessage,
  response: ServerResponse,
  caller: Caller,
): Promise<void> {
  const { method } = handler;
  const call = new HttpCall(handler.requestPath.slice(1), response, caller, mount, answers);
  const type = request.headers['content-type'] ?? '';
  const isKnown = handler.supportedContentType(type) && !TEXT.test(type);
  if (misses(method, isKnown, request, response, call)) return answers.complete(response);
  try {
    const universal = universalRequestFromNodeRequest(request, response, undefined, call.values());
    clampTimeouts(universal.header);
    const share = bodies.share();
    response.once('close', share.release);
    const body = (async function* () {
      try {
        yield await orLeave(request, response, readBody(request, { share, method, limit }));
      } catch (error) {
        throw call.failed(error);
      }
    })();
    await universalResponseToNodeResponse(await handler({ ...universal, body }), response);
  } catch (error) {
    // Nobody's fault is an answer that could not leave since its connection is gone.
    if (!request.socket.destroyed) mount.report(error);
    if (response.headersSent) response.destroy();
    else say(response, 500, 'the broker failed; its log has the cause');
  }
}

/** Answers with a stream, which is ours from its head to its end: connect's takes 40 KiB, and writes for each what all are told. */
function stream(
  {
    handler,
    impl,
    lasts,
    mount,
    answers,
    bodies,
    limit,
  }: Rpc & Pick<StreamParts, 'lasts'> & { readonly impl: StreamImpl },
  request: IncomingMessage,
  response: ServerResponse,
  caller: Caller,
): void {
  const { method } = handler;
  const call = new HttpCall(handler.requestPath.slice(1), response, caller, mount, answers);
  const format = streamFormat(request.headers['content-type']);
  if (misses(method, format !== undefined, request, response, call) || !format) {
    answers.complete(response);
    return;
  }
  const read = async () => {
    const share = bodies.share();
    try {
      return await orLeave(request, response, readRequest(request, { share, method, limit }, format.codec));
    } finally {
      share.release();
    }
  };
  void new HttpStream(response, { method, format, call, lasts, clock: mount.clock }).begin(read, impl);
}

/** The rest of a body that was not taken is not worth reading, and a caller that left is nobody's fault. */
async function orLeave<T>(request: IncomingMessage, response: ServerResponse, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    response.shouldKeepAlive = false;
    throw request.errored ? new ConnectError('the caller left', Code.Canceled) : error;
  }
}

/** Answers a request that no protocol takes, with what to send, or why it is refused. False: one takes it. `isKnown`: its content type is taken. */
function misses(
  method: DescMethod,
  isKnown: boolean,
  { method: verb }: IncomingMessage,
  response: ServerResponse,
  call: HttpCall,
): boolean {
  const types = TYPES[method.methodKind === 'unary' ? 'unary' : 'streaming'];
  const isBidi = method.methodKind === 'bidi_streaming';
  if (verb === 'POST' && isKnown && !isBidi) return false;
  if (call.refusal) sayError(response, call.failed(call.refusal));
  else if (isBidi) say(response, 505, `${method.name} needs HTTP/2: call it on the gRPC port`, { connection: 'close' });
  else if (verb !== 'POST') say(response, 405, 'use POST', { allow: 'POST' });
  else {
    const known = types.join(', ');
    say(response, 415, `send the header "content-type: ${types[0]}" (${known} are taken)`, { 'accept-post': known });
  }
  return true;
}
