import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { parseListen } from '../config/listen.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.js';
import { MessageService } from '../gen/lingpai/v1/message_pb.js';
import { TokenService } from '../gen/lingpai/v1/token_pb.js';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { jsonLine, print, printable } from './output.ts';

/** The flags of every command that calls a broker. */
export interface CallOptions {
  readonly addr: string;
  readonly json?: boolean;
}

/** The flags of every command that shows tokens. */
export interface ClientOptions extends CallOptions {
  readonly showToken?: boolean;
}

/** A client of one service of the broker at `addr`. */
export function clientOf<Desc extends DescService>(service: Desc, addr: string): Client<Desc> {
  if (!parseListen(addr)) throw new Failure(`--addr ${addr}: write HOST:PORT, such as 127.0.0.1:7600`, 2);
  return createClient(service, createGrpcTransport({ baseUrl: `http://${addr}` }));
}

/** A client of TokenService. */
export function tokenClient(addr: string): Client<typeof TokenService> {
  return clientOf(TokenService, addr);
}

/** A client of MessageService. */
export function messageClient(addr: string): Client<typeof MessageService> {
  return clientOf(MessageService, addr);
}

/** What a broker's error says, taken out of its status and details. */
export interface Refusal {
  readonly code: string;
  /** A name of ErrorReason; empty where the error is not the broker's own. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Null where a retry cannot help, or nothing is known. */
  readonly retryAfterMs: number | null;
}

/** Reads an error of a call. */
export function refusalOf(thrown: unknown): Refusal {
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: Code[error.code] ?? 'Unknown',
    reason: info?.reason ?? '',
    message: error.rawMessage,
    metadata: info?.metadata ?? {},
    retryAfterMs: delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : null,
  };
}

/** An error of a call in one line, with what to look at where the broker at `addr` did not answer itself. */
export function refusalText(refusal: Refusal, addr: string): string {
  return printable(wordsOf(refusal, addr));
}

function wordsOf({ code, reason, message, metadata, retryAfterMs }: Refusal, addr: string): string {
  if (reason === '' && code === 'Unavailable') return `${message}. Is a broker running at ${addr}?`;
  if (reason === '' && code === 'DeadlineExceeded') return 'no answer came in time (DeadlineExceeded); see --timeout';
  if (reason === '' && code === 'Internal') return `${message} (Internal). Is ${addr} the gRPC port of a broker?`;
  const rid = metadata['rid'] && !message.includes(metadata['rid']) ? `, rid ${metadata['rid']}` : '';
  const retry = retryAfterMs === null ? '' : `; try again in ${Math.ceil(retryAfterMs / 1000)} s`;
  return `${message} (${reason || code}${rid})${retry}`;
}

/** Calls a service; an error is printed, as JSON where that was asked for, and fails the command. */
export async function calling<Desc extends DescService, T>(
  service: Desc,
  options: CallOptions,
  io: Io,
  call: (client: Client<Desc>) => Promise<T>,
): Promise<T> {
  const client = clientOf(service, options.addr);
  try {
    return await call(client);
  } catch (error) {
    const refusal = refusalOf(error);
    if (options.json) print(jsonLine({ error: refusal }), io);
    throw new Failure(refusalText(refusal, options.addr));
  }
}
