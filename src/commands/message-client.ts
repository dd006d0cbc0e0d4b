import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { parseListen } from '../config/listen.ts';
import { MessageService } from '../gen/lingpai/v1/message_pb.js';
import { refusalOf, refusalText } from './client.ts';
import { Failure } from './exit.ts';

/** The flags of every command that sends or counts. */
export interface MessageOptions {
  readonly addr: string;
  readonly json?: boolean;
}

/** A client of the broker at `addr`. */
export function messageClient(addr: string): Client<typeof MessageService> {
  if (!parseListen(addr)) throw new Failure(`--addr ${addr}: write HOST:PORT, such as 127.0.0.1:7600`, 2);
  return createClient(MessageService, createGrpcTransport({ baseUrl: `http://${addr}` }));
}

/** Runs one call; its error is printed, as JSON where that was asked for, and fails the command. */
export async function callingMessages<T>(
  options: MessageOptions,
  call: (client: Client<typeof MessageService>) => Promise<T>,
): Promise<T> {
  const client = messageClient(options.addr);
  try {
    return await call(client);
  } catch (error) {
    const refusal = refusalOf(error);
    if (options.json) process.stdout.write(`${JSON.stringify({ error: refusal })}\n`);
    throw new Failure(refusalText(refusal, options.addr));
  }
}
