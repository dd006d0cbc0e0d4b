import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { NO_ANSWER } from '../../clients/node/src/advice.ts';
import { RpcError } from '../../clients/node/src/errors.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.js';
import { MessageService } from '../gen/lingpai/v1/message_pb.js';
import { TokenService } from '../gen/lingpai/v1/token_pb.js';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { jsonLine, print, printable } from './output.ts';
import { type TargetOptions, targetOf } from './target.ts';
import { tlsFault } from './tls-fault.ts';

/** The flags of every command that calls a broker. */
export interface CallOptions extends TargetOptions {
  readonly json?: boolean;
}

/** The flags of every command that shows tokens. */
export interface ClientOptions extends CallOptions {
  readonly showToken?: boolean;
}

/** A client of one service of a broker. `to`: its address, or also how it is called; files start at the folder of `io`. */
export function clientOf<Desc extends DescService>(
  service: Desc,
  to: string | TargetOptions,
  io: Pick<Io, 'cwd'> = process,
): Client<Desc> {
  return createClient(service, createGrpcTransport(targetOf(typeof to === 'string' ? { addr: to } : to, io)));
}

/** A client of TokenService. */
export function tokenClient(to: string | TargetOptions, io?: Pick<Io, 'cwd'>): Client<typeof TokenService> {
  return clientOf(TokenService, to, io);
}

/** A client of MessageService. */
export function messageClient(to: string | TargetOptions, io?: Pick<Io, 'cwd'>): Client<typeof MessageService> {
  return clientOf(MessageService, to, io);
}

/** What a broker's error says, taken out of its status and details. */
export interface Refusal {
  readonly code: string;
  /** A name of ErrorReason; empty where the error is not the broker's own. */
  readonly reason: string;
  readonly message: string;
  /** There was no call, since the TLS handshake failed; `message` says what to do. */
  readonly isHandshake?: true;
  readonly metadata: Readonly<Record<string, string>>;
  /** Null where a retry cannot help, or nothing is known. */
  readonly retryAfterMs: number | null;
}

/** Reads an error of a call. */
export function refusalOf(thrown: unknown): Refusal {
  if (thrown instanceof RpcError) return refusalOfStream(thrown);
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const fault = tlsFault(error.cause);
  return {
    code: Code[error.code] ?? 'Unknown',
    reason: info?.reason ?? '',
    message: fault ?? error.rawMessage,
    ...(fault !== undefined && { isHandshake: true }),
    metadata: info?.metadata ?? {},
    retryAfterMs: delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : null,
  };
}

/** The same of the client library's error, under the names that Connect has for codes. */
function refusalOfStream({ code, reason, words, cause, metadata, retryAfterMs }: RpcError): Refusal {
  const fault = tlsFault(cause);
  const name = code.replaceAll(/_?([A-Z])([A-Z]*)/g, (_, first, rest) => first + rest.toLowerCase());
  return {
    code: name === 'Cancelled' ? 'Canceled' : name,
    reason,
    message: fault ?? words,
    ...(fault !== undefined && { isHandshake: true }),
    metadata,
    retryAfterMs,
  };
}

/** An error of a call in one line, with what to look at where the broker at `addr` did not answer itself. */
export function refusalText(refusal: Refusal, addr: string): string {
  return printable(wordsOf(refusal, addr));
}

function wordsOf({ code, reason, message, isHandshake, metadata, retryAfterMs }: Refusal, addr: string): string {
  if (isHandshake) return `${addr}: ${message}`;
  // So ends a connection on which the other side waited for a handshake.
  if (reason === '' && (code === 'Canceled' || message.startsWith(NO_ANSWER)) && !/^https:/.test(addr))
    return `${addr} closed the connection without an answer. If it serves TLS, write --addr https://${addr.replace(/^http:\/\//, '')}`;
  if (reason === 'CREDENTIALS_MISSING')
    return `${message} (${reason}): set LINGPAI_KEY or LINGPAI_KEY_FILE, or show a certificate with --cert and --cert-key`;
  if (reason === '' && code === 'Unavailable') return `${message}. Is a broker running at ${addr}?`;
  if (reason === '' && code === 'DeadlineExceeded') return 'no answer came in time (DeadlineExceeded); see --timeout';
  if (reason === '' && code === 'Internal') return `${message} (Internal). Is ${addr} the gRPC port of a broker?`;
  const rid = metadata['rid'] && !message.includes(metadata['rid']) ? `, rid ${metadata['rid']}` : '';
  const retry = retryAfterMs === null ? '' : `; try again in ${Math.ceil(retryAfterMs / 1000)} s`;
  return `${message} (${reason || code}${rid})${retry}${ridAdvice(reason, metadata)}`;
}

/** Where WeChat has been asked, and may be asked what it knows of that. */
function ridAdvice(reason: string, { app_id, rid }: Refusal['metadata']): string {
  if (!app_id || !rid || reason === 'RID_UNKNOWN') return '';
  return `; "lingpai rid ${app_id} ${rid}" tells what WeChat knows of the call`;
}

/** Calls a service; an error is printed, as JSON where that was asked for, and fails the command. */
export async function calling<Desc extends DescService, T>(
  service: Desc,
  options: CallOptions,
  io: Io,
  call: (client: Client<Desc>) => Promise<T>,
): Promise<T> {
  const client = clientOf(service, options, io);
  try {
    return await call(client);
  } catch (error) {
    throw refused(refusalOf(error), options, io);
  }
}

/** The failure of a command whose call was refused; as JSON, where that was asked for, it is printed. */
export function refused(refusal: Refusal, { json, addr }: CallOptions, io: Pick<Io, 'stdout'>): Failure {
  if (json) print(jsonLine({ error: refusal }), io);
  return new Failure(refusalText(refusal, addr));
}
