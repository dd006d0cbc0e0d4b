import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Connection } from './connections.ts';
import { reset } from './tls.ts';

/** Requests of one connection that may wait for their answers: a client that pipelines may hold up others so long. */
const MAX_UNANSWERED = 16;

/** The connections of an HTTP listener, and their requests. */
export class HttpSockets {
  readonly #admitted = new WeakMap<Socket, { readonly connection: Connection; unanswered: number }>();
  readonly #requests = new Set<IncomingMessage>();

  /** A connection was let in, and requests may come on it. */
  add(socket: Socket, connection: Connection): void {
    this.#admitted.set(socket, { connection, unanswered: 0 });
  }

  /** A request has come. False: it is not to be answered, and its connection is reset where it was not. */
  begin(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    const admitted = this.#admitted.get(socket);
    if (!admitted || socket.destroyed) return false;
    if (admitted.unanswered >= MAX_UNANSWERED) {
      reset(socket);
      return false;
    }
    admitted.unanswered++;
    this.#requests.add(request);
    const done = admitted.connection.work();
    response.once('close', () => {
      admitted.unanswered--;
      this.#requests.delete(request);
      // The end of a connection of which something is left to read is a reset, and what was answered is lost by it.
      if (request.complete) done();
      else request.once('close', done);
    });
    return true;
  }

  /** A caller that was let in has an answer that lasts, until what this returns is called. */
  lasts(socket: Socket): () => void {
    return this.#admitted.get(socket)?.connection.lasts() ?? (() => {});
  }

  /** Resets the connections of requests that have not come whole. */
  resetUnfinished(): void {
    for (const request of this.#requests) if (!request.complete) reset(request.socket);
  }
}
