import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../core/clock.ts';

/** Resets connections whose peers do not read. */
export class Answers {
  readonly #clock: Clock;
  readonly #stallTimeoutMs: number;

  constructor(clock: Clock, stallTimeoutMs: number) {
    this.#clock = clock;
    this.#stallTimeoutMs = stallTimeoutMs;
  }

  /** The answer is complete, and is to be read within the time: what nobody reads would be held for ever. */
  complete(response: ServerResponse): void {
    if (response.closed) return;
    let timer: Timer | undefined;
    const arm = () => {
      timer = this.#clock.schedule(this.#stallTimeoutMs, () => {
        const { socket } = response;
        // Behind the answer to an earlier request of the same connection it waits for us.
        if (socket) socket.resetAndDestroy();
        else arm();
      });
    };
    arm();
    response.once('close', () => timer?.cancel());
  }
}

/** Answers with a sentence. */
export function say(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}) {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers })
    .end(`${text}\n`);
}
