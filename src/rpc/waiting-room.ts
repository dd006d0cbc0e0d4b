import { Code, ConnectError } from '@connectrpc/connect';
import { type Deadline, deadline } from '../core/kernel/abortable.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { LingpaiError } from '../core/kernel/errors.ts';

/** The longest that a call waits, whatever the caller's deadline. */
const LONGEST_WAIT_MS = 60_000;
/** Each call that waits holds some memory until what it waits for comes. */
const MOST = 20_000;
/** When it is worth asking again where no room was left to wait. */
const NO_ROOM_MS = 1_000;

/** Where calls wait for what is not in memory: so many at once, and a minute at most. A call that need not wait pays for nothing. */
export class WaitingRoom {
  readonly #clock: Clock;
  readonly #words: string;
  readonly #most: number;
  #waiting = 0;

  /** `words`: what waits for what, as in "calls of Get are waiting for a token". */
  constructor(clock: Clock, words: string, most = MOST) {
    this.#clock = clock;
    this.#words = words;
    this.#most = most;
  }

  /**
   * Has `ask` get something, at once or, under the signal that it may ask for, later; `answer` makes the answer of it.
   * Fails with TOO_MANY_WAITING, GENERATION_NOT_REACHED, and as `ask` does.
   */
  hold<T, R>(
    appId: string,
    caller: { readonly signal: AbortSignal },
    ask: (signal: () => AbortSignal) => T | Promise<T>,
    answer: (value: T, hasWaited: boolean) => R,
  ): R | Promise<R> {
    let wait: Deadline | undefined;
    const signal = () => {
      if (!wait) {
        if (this.#waiting >= this.#most) throw this.#full(appId);
        this.#waiting++;
        wait = deadline(this.#clock, LONGEST_WAIT_MS, caller.signal, () => notReached(appId));
      }
      return wait.signal;
    };
    const value = ask(signal);
    if (!(value instanceof Promise)) return answer(value, false);
    return value
      .then((later) => answer(later, true))
      .catch((error: unknown) => {
        throw isDeadline(error) ? notReached(appId) : error;
      })
      .finally(() => {
        if (!wait) return;
        this.#waiting--;
        wait[Symbol.dispose]();
      });
  }

  #full(appId: string): LingpaiError {
    const message = `${this.#most} ${this.#words}: ask again later`;
    return new LingpaiError(message, { reason: 'TOO_MANY_WAITING', appId, retryAfterMs: NO_ROOM_MS });
  }
}

function isDeadline(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.DeadlineExceeded;
}

function notReached(appId: string): LingpaiError {
  const message = 'what was asked for did not come in time: repeat the call, or allow it more time';
  return new LingpaiError(message, { reason: 'GENERATION_NOT_REACHED', appId });
}
