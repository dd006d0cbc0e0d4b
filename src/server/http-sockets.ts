import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Connection } from './connections.ts';
import { reset } from './tls.ts';

/** Requests of one connection that may wait for their answers: a client that pipelines may hold up others so long. */
const MAX_UNANSWERED = 16;

/** The connections of an HTTP listener, and their requests. */
export class HttpSockets {
  readonly #admitted = new WeakMap<Socket, { readonly connection: Connection; unanswered: number }>();

  /** A connection was let in, and requests may come on it. */
  add(socket: Socket, connection: Connection): void {
    this.#admitted.set(socket, { connection, unanswered: 0 });
  }

  /** A request has come. False: it is not to be answered, and its connection is reset where it was not. */
  begin(socket: Socket, response: ServerResponse): boolean {
    const admitted = this.#admitted.get(socket);
    if (!admitted || socket.destroyed) return false;
    if (admitted.unanswered >= MAX_UNANSWERED) {
      reset(socket);
      return false;
    }
    admitted.unanswered++;
    const done = admitted.connection.work();
    response.once('close', () => {
      admitted.unanswered--;
      done();
    });
    return true;
  }

  /** A caller that was let in has an answer that lasts. */
  lasts(socket: Socket): void {
    this.#admitted.get(socket)?.connection.lasts();
  }
}
