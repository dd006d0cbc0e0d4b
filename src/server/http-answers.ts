import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ConnectError } from '@connectrpc/connect';
import { codeToHttpStatus } from '@connectrpc/connect/protocol-connect';
import type { AuditedCall } from '../core/access/ports.ts';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import { reset } from './tls.ts';

/** What answers the requests of one path. */
export interface Responder {
  /** Of a caller that the door let in. `lasts` is called where the answer does; what it returns, when it is over. */
  answer(request: IncomingMessage, response: ServerResponse, caller: AuditedCall, lasts?: () => () => void): void;
  /** Of one that it did not, without reading the body. */
  refuse(request: IncomingMessage, response: ServerResponse, error: ConnectError): void;
}

/** What answers that are complete and not read yet may hold in all, in bytes. */
const UNREAD_BYTES = 24 * 1024 * 1024;

/** Resets connections whose peers do not read. */
export class Answers {
  readonly #clock: Clock;
  readonly #stallTimeoutMs: number;
  /** What each unread answer holds, the oldest first. */
  readonly #unread = new Map<ServerResponse, number>();
  #held = 0;

  constructor(clock: Clock, stallTimeoutMs: number) {
    this.#clock = clock;
    this.#stallTimeoutMs = stallTimeoutMs;
  }

  /**
   * The answer is complete, and is to be read within the time: what nobody reads would be held for ever. Where too much is
   * unread, the oldest answers are given up before.
   */
  complete(response: ServerResponse): void {
    if (response.closed) return;
    let timer: Timer | undefined;
    const arm = () => {
      timer = this.#clock.schedule(this.#stallTimeoutMs, () => {
        // Behind the answer to an earlier request of the same connection it waits for us.
        if (response.socket) reset(response.socket);
        else arm();
      });
    };
    arm();
    this.#unread.set(response, 0);
    response.once('close', () => {
      timer?.cancel();
      this.#forget(response);
    });
    this.#weigh(response);
    // The answer of an RPC is decided before it is written, which takes until the end of this turn.
    setImmediate(() => this.#weigh(response));
  }

  #weigh(response: ServerResponse): void {
    const before = this.#unread.get(response);
    if (before === undefined) return;
    const bytes = response.writableLength;
    this.#unread.set(response, bytes);
    this.#held += bytes - before;
    for (const oldest of this.#unread.keys()) {
      if (this.#held <= UNREAD_BYTES || oldest === response) break;
      this.#forget(oldest);
      reset(oldest.req.socket);
    }
  }

  #forget(response: ServerResponse): void {
    this.#held -= this.#unread.get(response) ?? 0;
    this.#unread.delete(response);
  }
}

/** Answers with a sentence. */
export function say(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}) {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers })
    .end(`${text}\n`);
}

/** Answers with an error and its status as HTTP has it. */
export function sayError(response: ServerResponse, error: ConnectError): void {
  say(response, codeToHttpStatus(error.code), error.rawMessage, Object.fromEntries(error.metadata));
}
