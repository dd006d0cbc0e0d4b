import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Code, ConnectError } from '@connectrpc/connect';
import { parseContentType, parseTimeout } from '@connectrpc/connect/protocol-grpc';
import { codeName } from '../transport/code-name.ts';
import type { Connection } from './connections.ts';
import { compressed } from './deframer.ts';
import { Arrival, type Door, type Entered } from './door.ts';
import { BidiCall } from './grpc-bidi.ts';
import { type GrpcMethod, refuse } from './grpc-call.ts';
import { type GrpcConnection, MAX_HEADER_BYTES } from './grpc-connection.ts';
import { StreamCall } from './grpc-stream.ts';
import { UnaryCall } from './grpc-unary.ts';
import type { Guard } from './guard.ts';
import type { Mount } from './mount.ts';
import type { OpenCalls } from './open-calls.ts';
import { late } from './server-call.ts';

/** Bidirectional calls that are open at once: what is on its way to each of them waits here, up to HTTP/2's window of 64 KiB. */
const MAX_BIDI_CALLS = 512;
/** Of one connection: nobody is to shut out all others. */
const MAX_BIDI_OF_CONNECTION = 128;
/** The longest deadline. Nobody waits for longer, and what computes with it cannot overflow. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** How calls of each kind are answered. */
export const KINDS = { unary: UnaryCall, server_streaming: StreamCall, bidi_streaming: BidiCall } as const;

/** How a path is answered. */
export interface Answer {
  readonly method: GrpcMethod;
  readonly Call: (typeof KINDS)[keyof typeof KINDS];
}

/** A stream that a peer opened. */
export interface Incoming {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly raw: readonly string[];
  readonly socket: Socket;
  readonly connection: GrpcConnection;
  readonly admitted: Connection;
}

/** What the entrance of a listener leads to. */
export interface EntranceOptions {
  readonly mount: Mount;
  readonly door: Door<Answer>;
  readonly calls: OpenCalls;
  readonly objectionTo: Guard;
}

/**
 * Each stream of each connection comes through here, with its head, before anything of its body is read. It begins as a
 * call only if it is one, and the door lets it in.
 */
export function answering({ mount, door, calls, objectionTo }: EntranceOptions) {
  let bidi = 0;

  /** Throws where the call does not begin. */
  const begin = ({ stream, headers, connection, admitted }: Incoming, entered: Entered<Answer>, endsAt?: number) => {
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
    new answer.Call(stream, { headers, principal, timeoutMs, connection, done }, answer.method).begin();
  };

  /** Who comes is not known yet: the caller may leave meanwhile, or its deadline may pass. */
  const wait = (incoming: Incoming, arrival: Arrival<Answer>, endsAt?: number) => {
    const { stream, connection } = incoming;
    const { clock } = mount;
    // What comes of the body waits here, up to HTTP/2's window. Of more than one chunk each counts as a crumb does.
    const early: Buffer[] = [];
    let hasEnded = false;
    stream.push = (chunk: Buffer | null) => {
      if (!chunk) hasEnded = true;
      else if (early.push(chunk) > 1) connection.incomplete(chunk.length);
      return false;
    };
    const { name } = arrival.answer.method;
    const began = clock.monotonic();
    calls.began();
    const known = (entered: Entered<Answer>) => {
      over();
      try {
        begin(incoming, entered, endsAt);
        for (const chunk of early) stream.push(chunk);
        if (hasEnded) stream.push(null);
      } catch (error) {
        turnAway(mount.toError(error));
      }
    };
    const over = () => {
      deadline?.cancel();
      stream.off('close', gone);
      Reflect.deleteProperty(stream, 'push');
      calls.ended();
    };
    /** What came of the body is let go of. Node closes a stream by itself only while nothing has asked for its body. */
    const turnAway = (error: ConnectError) => {
      refuse(stream, error);
      stream.resume();
      if (hasEnded) stream.push(null);
      else setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
    };
    const leave = (code: Code) => {
      arrival.leave();
      over();
      mount.rpc(name, codeName(code), clock.monotonic() - began);
    };
    const gone = () => leave(Code.Canceled);
    const tooLate = () => {
      leave(Code.DeadlineExceeded);
      turnAway(late());
    };
    const deadline = endsAt === undefined ? undefined : clock.schedule(endsAt - began, tooLate);
    stream.once('close', gone);
    arrival.onKnown(known);
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
      const objection = objectionTo('POST', headers[':authority'] ?? headers.host, headers, path);
      if (objection) throw new ConnectError(objection.text, OBJECTIONS[objection.status]);
      if (headers['te'] !== 'trailers') throw withoutTrailers();
      if ((headers['grpc-encoding'] ?? 'identity') !== 'identity') throw compressed();
      const timeoutMs = timeoutOf(headers['grpc-timeout']);
      const entered = door.enter({ path, headers, rawHeaders: raw, socket });
      if (!entered) throw unknownMethod();
      const endsAt = timeoutMs === undefined ? undefined : mount.clock.monotonic() + timeoutMs;
      if (entered instanceof Arrival) wait(incoming, entered, endsAt);
      else begin(incoming, entered, endsAt);
    } catch (error) {
      refuse(stream, mount.toError(error));
    }
  };
}

/** What the guard says in HTTP, as gRPC says it. */
const OBJECTIONS = { 400: Code.InvalidArgument, 403: Code.PermissionDenied, 421: Code.InvalidArgument } as const;

const HINTS = { 405: { allow: 'POST' }, 415: { 'accept-post': 'application/grpc, application/grpc+proto' } };

function ignore(): void {}

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
