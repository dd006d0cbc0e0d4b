import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { MAX_MESSAGE_BYTES } from '../transport/service.ts';
import {
  type Connection,
  type ConnectionLimits,
  Connections,
  connectionLimits,
  type Refusal,
  type Tally,
} from './connections.ts';
import { Door, type Listed } from './door.ts';
import type { GrpcMethod } from './grpc-call.ts';
import { GrpcConnection, TICK_MS } from './grpc-connection.ts';
import { type Answer, answering, KINDS } from './grpc-entrance.ts';
import { guard } from './guard.ts';
import { Held } from './held.ts';
import { listen } from './listen.ts';
import { LETTING_GO_MS, type Listen, type Listener, type Mount } from './mount.ts';
import { OpenCalls } from './open-calls.ts';
import { Handshakes, letIn, serverOptions, takeTls } from './tls.ts';
import { within } from './within.ts';

/** What the gRPC listener needs besides what it serves. */
export interface GrpcOptions extends Mount {
  readonly listen: Listen;
  /** grpc.health.v1, which is told whether to send calls here, and when its watches are to end. */
  readonly health: { set(serving: boolean): void; end(): void };
  /** How many connections it takes. Default: what `connectionLimits` gives where files are in plenty. */
  readonly connections?: ConnectionLimits | Tally;
  /** Told of connections that were refused. */
  readonly onRefused?: (refusal: Refusal) => void;
}

/** How long a drained connection may stay once our calls are done: bytes on their way. */
const LINGER_MS = 1_000;
/** A connection without a call ends after this long; clients connect anew by themselves. */
const IDLE_MS = 300_000;
const STALL_TIMEOUT_MS = 30_000;
/** What requests that have not wholly come, and answers that have not left, may hold in all. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;

/**
 * Serves gRPC on HTTP/2: the mounted services, unary, server-streaming and bidirectional methods.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startGrpc(options: GrpcOptions): Promise<Listener> {
  const { clock, health, tls, stallTimeoutMs = STALL_TIMEOUT_MS } = options;
  const calls = new OpenCalls();
  const held = new Held(clock, stallTimeoutMs, MAX_HELD_BYTES);
  const door = new Door(answersOf(options, calls, held), options);
  const open = new Set<GrpcConnection>();
  const connections = new Connections({
    limits: options.connections ?? connectionLimits(Number.POSITIVE_INFINITY).grpc,
    idleMs: IDLE_MS,
    clock,
    onRefused: options.onRefused ?? (() => {}),
  });

  const come = (socket: Socket, admitted: Connection) => {
    const connection = new GrpcConnection(socket, clock);
    open.add(connection);
    connection.session.once('close', () => open.delete(connection));
    connection.session.on('stream', (stream, headers, _, raw) =>
      answer({ stream, headers, raw, socket, connection, admitted }),
    );
    return () => connection.close();
  };
  const secured = tls && createTlsServer(serverOptions(tls, 'h2'));
  const handshakes = secured && new Handshakes(secured, tls, clock);
  const net = secured ?? createServer();
  letIn(net, connections, come, handshakes);
  const address = await listen(net, options.listen, 'grpc.listen');
  const objectionTo = guard({ ...options, server: net, isSecure: tls !== undefined });
  const answer = answering({ mount: options, door, calls, objectionTo });
  const tick = () => {
    for (const connection of open) connection.tick();
    ticking = clock.schedule(TICK_MS, tick);
  };
  let ticking = clock.schedule(TICK_MS, tick);
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => net.close(() => resolve()));
    handshakes?.stop();
    return closed;
  };

  async function stop(): Promise<void> {
    const done = close();
    ticking.cancel();
    for (const { session } of open) session.destroy();
    connections.destroy();
    held.stop();
    await done;
  }

  async function drain(limitMs: number): Promise<void> {
    const end = clock.monotonic() + limitMs;
    const done = close();
    health.end();
    held.hasten(LETTING_GO_MS);
    for (const { session } of open) session.close();
    if (await within(clock, limitMs, calls.idle()))
      await within(clock, Math.min(LINGER_MS, end - clock.monotonic()), done);
    await stop();
  }

  return {
    address,
    paths: door.paths,
    setServing: (serving) => health.set(serving),
    setTls: (next) => takeTls(handshakes, next),
    drain,
    stop,
  };
}

/** How each path is answered. */
function answersOf(mount: Mount, calls: OpenCalls, held: Held): Listed<Answer>[] {
  const answers: Listed<Answer>[] = [];
  const { pause = anyTurn } = mount;
  for (const { desc: service, impl, limits, open } of mount.services) {
    for (const desc of service.methods) {
      const name = `${service.typeName}/${desc.name}`;
      if (desc.methodKind === 'client_streaming')
        throw new TypeError(`${name} is client-streaming, which this listener does not serve`);
      const handler = (impl as Record<string, unknown>)[desc.localName] as GrpcMethod['impl'];
      const limit = limits?.[desc.localName] ?? { bytes: MAX_MESSAGE_BYTES };
      const method = { name, desc, impl: handler.bind(impl), limit, mount, calls, held, pause };
      answers.push([`/${name}`, { method, Call: KINDS[desc.methodKind] }, open?.has(desc.localName)]);
    }
  }
  return answers;
}

function anyTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
