import { createServer, type Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { BidiCall } from './grpc-bidi.ts';
import type { GrpcCall, GrpcMethod } from './grpc-call.ts';
import { addReflection, Health } from './grpc-standard.ts';
import { StreamCall } from './grpc-stream.ts';
import { UnaryCall } from './grpc-unary.ts';
import { listen } from './listen.ts';
import { type Listen, type Listener, MAX_MESSAGE_BYTES, type Mount } from './mount.ts';
import { OpenCalls } from './open-calls.ts';
import { within } from './within.ts';

/** How long a drained connection may stay once our calls are done: other services' streams, and bytes on their way. */
const LINGER_MS = 1_000;

const OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_concurrent_streams': 1000,
  // Finds dead peers. Pings of clients are answered at any rate: grpc-js has no limit that would end their connections.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // Bookkeeping for each call that nobody reads.
  'grpc.enable_channelz': 0,
};

/**
 * Serves gRPC: the mounted services (unary, server-streaming and bidirectional methods), grpc.health.v1 and reflection.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startGrpc(options: Mount & { readonly listen: Listen }): Promise<Listener> {
  const calls = new OpenCalls();
  const answers = answersOf(options, calls);
  const health = new Health(options.services);
  const server = new Server({ ...OPTIONS, interceptors: [answering(answers)] });
  for (const [path, { kind }] of answers) server.register(path, notReached, asIs, asIs, kind.type);
  health.addTo(server);
  addReflection(server, options.services);

  // Our own listening socket, for errors that have a code and for connections that can be ended.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const net = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    injector.injectConnection(socket);
  });
  const address = await listen(net, options.listen, 'grpc.listen');
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => net.close(() => resolve()));
    return closed;
  };

  async function stop(): Promise<void> {
    const done = close();
    for (const socket of sockets) socket.destroy();
    server.forceShutdown();
    await done;
  }

  async function drain(limitMs: number): Promise<void> {
    const { clock } = options;
    const end = clock.monotonic() + limitMs;
    const done = close();
    health.endWatches();
    injector.drain(limitMs);
    if (await within(clock, limitMs, calls.idle()))
      await within(clock, Math.min(LINGER_MS, end - clock.monotonic()), done);
    await stop();
  }

  return { address, setServing: (serving) => health.set(serving), drain, stop };
}

/** How calls of each kind are answered; `type` is grpc-js's name of the kind. */
const KINDS = {
  unary: { type: 'unary', Call: UnaryCall },
  server_streaming: { type: 'serverStream', Call: StreamCall },
  bidi_streaming: { type: 'bidi', Call: BidiCall },
} as const;

interface Answer {
  readonly method: GrpcMethod;
  readonly kind: (typeof KINDS)[keyof typeof KINDS];
}

/** How each path is answered. */
function answersOf(mount: Mount, calls: OpenCalls): Map<string, Answer> {
  const answers = new Map<string, Answer>();
  for (const { desc: service, impl } of mount.services) {
    for (const desc of service.methods) {
      const name = `${service.typeName}/${desc.name}`;
      if (desc.methodKind === 'client_streaming')
        throw new TypeError(`${name} is client-streaming, which this listener does not serve`);
      const handler = (impl as Record<string, unknown>)[desc.localName] as GrpcMethod['impl'];
      const method = { name, desc, impl: handler.bind(impl), mount, calls };
      answers.set(`/${name}`, { method, kind: KINDS[desc.methodKind] });
    }
  }
  return answers;
}

/** Takes calls of our methods before grpc-js's own handlers; others (health, reflection) go on to them. */
function answering(answers: ReadonlyMap<string, Answer>): ServerInterceptor {
  return ({ path }, call) => {
    const answer = answers.get(path);
    return answer
      ? new AnsweredCall(call, new answer.kind.Call(call, answer.method))
      : new ServerInterceptingCall(call);
  };
}

/** An intercepted call that is answered by `answer` and not by the handler that is registered for it. */
class AnsweredCall extends ServerInterceptingCall {
  readonly #call: ServerInterceptingCallInterface;
  readonly #answer: GrpcCall;

  constructor(call: ServerInterceptingCallInterface, answer: GrpcCall) {
    super(call);
    this.#call = call;
    this.#answer = answer;
  }

  override start(): void {
    this.#call.start(this.#answer);
  }
}

function notReached(): never {
  throw new TypeError('the interceptor answers calls of this method');
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
