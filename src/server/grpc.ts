import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { parseContentType, parseTimeout } from '@connectrpc/connect/protocol-grpc';
import { codeName } from '../transport/code-name.ts';
import { MAX_MESSAGE_BYTES } from '../transport/service.ts';
import { type Connection, type ConnectionLimits, Connections, connectionLimits, type Refusal } from './connections.ts';
import { compressed } from './deframer.ts';
import { Arrival, Door, type Entered, type Listed } from './door.ts';
import { BidiCall } from './grpc-bidi.ts';
import { type GrpcMethod, late, refuse } from './grpc-call.ts';
import { GrpcConnection, MAX_HEADER_BYTES, TICK_MS } from './grpc-connection.ts';
import { StreamCall } from './grpc-stream.ts';
import { UnaryCall } from './grpc-unary.ts';
import { Held } from './held.ts';
import { listen } from './listen.ts';
import type { Listen, Listener, Mount } from './mount.ts';
import { OpenCalls } from './open-calls.ts';
import { within } from './within.ts';

/** What the gRPC listener needs besides what it serves. */
export interface GrpcOptions extends Mount {
  readonly listen: Listen;
  /** grpc.health.v1, which is told whether to send calls here, and when its watches are to end. */
  readonly health: { set(serving: boolean): void; end(): void };
  /** How many connections it takes. Default: what `connectionLimits` gives where files are in plenty. */
  readonly connections?: ConnectionLimits;
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
/** Bidirectional calls that are open at once: what is on its way to each of them waits here, up to HTTP/2's window of 64 KiB. */
const MAX_BIDI_CALLS = 512;
/** Of one connection: nobody is to shut out all others. */
const MAX_BIDI_OF_CONNECTION = 128;
/** The longest deadline. Nobody waits for longer, and what computes with it cannot overflow. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Serves gRPC on HTTP/2: the mounted services, unary, server-streaming and bidirectional methods.
 * Rejects with an Error that names the address, and what to do, when it cannot listen.
 */
export async function startGrpc(options: GrpcOptions): Promise<Listener> {
  const { clock, health, stallTimeoutMs = STALL_TIMEOUT_MS } = options;
  const calls = new OpenCalls();
  const held = new Held(clock, stallTimeoutMs, MAX_HELD_BYTES);
  const door = new Door(answersOf(options, calls, held), options);
  const answer = answering(options, door, calls);
  const open = new Set<GrpcConnection>();
  const connections = new Connections({
    limits: options.connections ?? connectionLimits(Number.POSITIVE_INFINITY).grpc,
    idleMs: IDLE_MS,
    clock,
    onRefused: options.onRefused ?? (() => {}),
  });

  const accept = (socket: Socket) => {
    const admitted = connections.admit(socket, () => connection?.close());
    if (!admitted) return;
    const connection = new GrpcConnection(socket, clock);
    open.add(connection);
    connection.session.once('close', () => open.delete(connection));
    connection.session.on('stream', (stream, headers, _, raw) =>
      answer({ stream, headers, raw, socket, connection, admitted }),
    );
  };
  const net = createServer(accept);
  const address = await listen(net, options.listen, 'grpc.listen');
  const tick = () => {
    for (const connection of open) connection.tick();
    ticking = clock.schedule(TICK_MS, tick);
  };
  let ticking = clock.schedule(TICK_MS, tick);
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => net.close(() => resolve()));
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
    for (const { session } of open) session.close();
    if (await within(clock, limitMs, calls.idle()))
      await within(clock, Math.min(LINGER_MS, end - clock.monotonic()), done);
    await stop();
  }

  return { address, paths: door.paths, setServing: (serving) => health.set(serving), drain, stop };
}

/** How calls of each kind are answered. */
const KINDS = { unary: UnaryCall, server_streaming: StreamCall, bidi_streaming: BidiCall } as const;

interface Answer {
  readonly method: GrpcMethod;
  readonly Call: (typeof KINDS)[keyof typeof KINDS];
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

/** A stream that a peer opened. */
interface Incoming {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly raw: readonly string[];
  readonly socket: Socket;
  readonly connection: GrpcConnection;
  readonly admitted: Connection;
}

/**
 * Each stream of each connection comes through here, with its head, before anything of its body is read. It begins as a
 * call only if it is one, and the door lets it in.
 */
function answering(mount: Mount, door: Door<Answer>, calls: OpenCalls) {
  let bidi = 0;

  /** Throws where the call does not begin. */
  const begin = (
    { stream, headers, connection, admitted }: Incoming,
    entered: Entered<Answer>,
    endsAt?: number,
    isLate = false,
  ) => {
    const { answer } = entered;
    if ('refusal' in entered) {
      const error = mount.toError(entered.refusal);
      mount.rpc(answer.method.name, codeName(error.code), 0);
      throw error;
    }
    const { principal } = entered;
    const isBidi = answer.Call === BidiCall;
    if (isBidi && (bidi >= MAX_BIDI_CALLS || connection.bidiCalls >= MAX_BIDI_OF_CONNECTION)) throw tooManyCalls();
    if (isBidi) {
      bidi++;
      connection.bidiCalls++;
    }
    const idle = admitted.work();
    const done = isBidi
      ? () => {
          bidi--;
          connection.bidiCalls--;
          idle();
        }
      : idle;
    const timeoutMs = endsAt === undefined ? undefined : endsAt - mount.clock.monotonic();
    new answer.Call(stream, { headers, principal, timeoutMs, connection, isLate, done }, answer.method).begin();
  };

  /** Who comes is not known yet: the caller may leave meanwhile, or its deadline may pass. */
  const wait = (incoming: Incoming, arrival: Arrival<Answer>, endsAt?: number) => {
    const { stream, connection } = incoming;
    const { clock } = mount;
    // What comes is kept by the stream, a chunk for each frame: of more than one each counts as a crumb does.
    let chunks = 0;
    stream.push = (chunk: Buffer | null) => {
      if (chunk && chunks++ > 0) connection.incomplete(chunk.length);
      return Readable.prototype.push.call(stream, chunk);
    };
    const { name } = arrival.answer.method;
    const began = clock.monotonic();
    calls.began();
    const over = (entered: Entered<Answer> | { readonly code: Code }) => {
      deadline?.cancel();
      stream.off('close', gone);
      Reflect.deleteProperty(stream, 'push');
      try {
        if ('code' in entered) mount.rpc(name, codeName(entered.code), clock.monotonic() - began);
        else begin(incoming, entered, endsAt, true);
      } catch (error) {
        refuse(stream, mount.toError(error));
      } finally {
        calls.ended();
      }
    };
    const leave = (code: Code) => {
      arrival.leave();
      over({ code });
    };
    const gone = () => leave(Code.Canceled);
    const tooLate = () => {
      leave(Code.DeadlineExceeded);
      refuse(stream, late());
    };
    const deadline = endsAt === undefined ? undefined : clock.schedule(endsAt - began, tooLate);
    stream.once('close', gone);
    arrival.onKnown(over);
  };

  return (incoming: Incoming): void => {
    const { stream, headers, raw, socket } = incoming;
    // Whatever goes wrong with a stream closes it, and that is told by `close`.
    stream.on('error', ignore);
    const path = headers[':path'] ?? '';
    const wrong = notGrpc(headers);
    if (wrong) {
      stream.respond({ ':status': wrong, ...HINTS[wrong] }, { endStream: true });
      return;
    }
    try {
      if (bytesOf(raw) > MAX_HEADER_BYTES) throw tooManyHeaders();
      if (headers['te'] !== 'trailers') throw withoutTrailers();
      if ((headers['grpc-encoding'] ?? 'identity') !== 'identity') throw compressed();
      const timeoutMs = timeoutOf(headers['grpc-timeout']);
      const entered = door.enter({ path, headers, socket });
      if (!entered) throw unknownMethod();
      const endsAt = timeoutMs === undefined ? undefined : mount.clock.monotonic() + timeoutMs;
      if (entered instanceof Arrival) wait(incoming, entered, endsAt);
      else begin(incoming, entered, endsAt);
    } catch (error) {
      refuse(stream, mount.toError(error));
    }
  };
}

const HINTS = { 405: { allow: 'POST' }, 415: { 'accept-post': 'application/grpc, application/grpc+proto' } };

function ignore(): void {}

function anyTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** The HTTP status of what is no gRPC call at all. */
function notGrpc(headers: IncomingHttpHeaders): 405 | 415 | undefined {
  if (headers[':method'] !== 'POST') return 405;
  const type = headers['content-type'] ?? '';
  return type === 'application/grpc' || parseContentType(type)?.binary ? undefined : 415;
}

/** Node enforces the setting only once the peer has said that it knows it, which it need never do. */
function bytesOf(raw: readonly string[]): number {
  let bytes = 16 * raw.length;
  for (const text of raw) bytes += text.length;
  return bytes;
}

function timeoutOf(value: string | string[] | undefined): number | undefined {
  if (value === undefined) return undefined;
  const { timeoutMs = 0, error } = parseTimeout(String(value), Number.POSITIVE_INFINITY);
  if (error)
    throw new ConnectError(
      'grpc-timeout is malformed: write 1 to 8 digits and one of H, M, S, m, u, n',
      Code.InvalidArgument,
    );
  return Math.min(timeoutMs, LONGEST_TIMEOUT_MS);
}

function unknownMethod(): ConnectError {
  return new ConnectError('there is no such method here: server reflection lists those that are', Code.Unimplemented);
}

function tooManyHeaders(): ConnectError {
  return new ConnectError(`the headers are larger than ${MAX_HEADER_BYTES} bytes`, Code.ResourceExhausted);
}

function withoutTrailers(): ConnectError {
  const words =
    'the request has no "te: trailers": what is in between does not pass the trailers in which gRPC has its status';
  return new ConnectError(words, Code.InvalidArgument);
}

function tooManyCalls(): ConnectError {
  return new ConnectError(
    `${MAX_BIDI_CALLS} bidirectional calls are open, or ${MAX_BIDI_OF_CONNECTION} on this connection: end some, or try later`,
    Code.ResourceExhausted,
  );
}
