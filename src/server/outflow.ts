import type { Feed } from '../transport/service.ts';

/** What the responses of a streaming call leave by. */
export interface Outlet {
  /** The call has its status: nothing more leaves. */
  readonly over: boolean;
  /** Hands a response to the transport; `left` is called when it has left, and never when the call is over before. */
  send(response: unknown, left: () => void): void;
  /** A response of a handler that cannot be woken waits for its reader, or does so no longer. */
  waiting(isWaiting: boolean): void;
  succeed(): void;
  fail(error: unknown): void;
}

/** Sends what a handler returned. A response is asked for only when the one before has left: at most one is held here. */
export class Outflow {
  readonly #outlet: Outlet;
  #feed: Feed | undefined;
  #responses: AsyncIterator<unknown> | undefined;
  #isSending = false;

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
  }

  /** Whether a response is on its way. */
  get isSending(): boolean {
    return this.#isSending;
  }

  begin(responses: AsyncIterable<unknown> | Feed): void {
    if ('take' in responses) {
      this.#feed = responses;
      responses.onNews(this);
      this.wake();
    } else {
      this.#responses = responses[Symbol.asyncIterator]();
      this.#pull();
    }
  }

  /** Sends what the feed has, if nothing is on its way. A feed looks itself whether it is read. */
  wake(): void {
    const outlet = this.#outlet;
    if (outlet.over || this.#isSending) return;
    try {
      const response = this.#feed?.take();
      if (response === undefined) return;
      this.#isSending = true;
      outlet.send(response, this.#left);
    } catch (error) {
      outlet.fail(error);
    }
  }

  /** The call is over. */
  close(): void {
    this.#responses?.return?.().catch(() => {});
  }

  readonly #left = (error?: Error | null): void => {
    if (this.#outlet.over || error) return;
    this.#isSending = false;
    if (this.#feed) {
      this.#feed.taken();
      this.wake();
    } else {
      this.#outlet.waiting(false);
      this.#pull();
    }
  };

  #pull(): void {
    if (this.#outlet.over) return;
    this.#responses?.next().then(
      (result) => this.#push(result),
      (error) => this.#outlet.fail(error),
    );
  }

  #push(result: IteratorResult<unknown>): void {
    const outlet = this.#outlet;
    if (outlet.over) return;
    try {
      if (result.done) outlet.succeed();
      else {
        this.#isSending = true;
        outlet.send(result.value, this.#left);
        outlet.waiting(true);
      }
    } catch (error) {
      outlet.fail(error);
    }
  }
}
