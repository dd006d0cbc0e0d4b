import type { Feed } from '../transport/service.ts';
import { GrpcCall } from './grpc-call.ts';

/** A server-streaming call. A response is asked for only when the one before has left: at most one is held here. */
export class StreamCall extends GrpcCall {
  #feed: Feed | undefined;
  #sending = false;
  #responses: AsyncIterator<unknown> | undefined;

  protected override handle(input: unknown): void {
    const responses = this.rpc.impl(input, this) as AsyncIterable<unknown> | Feed;
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
    if (this.over || this.#sending) return;
    try {
      const response = this.#feed?.take();
      if (response === undefined) return;
      this.#sending = true;
      this.send(response, this.#sent);
    } catch (error) {
      this.fail(error);
    }
  }

  /** A response of so many bytes waits for its reader; 0: it has left. */
  protected waiting(bytes: number): void {
    if (bytes > 0) this.rpc.held.set(this, bytes);
    else this.rpc.held.delete(this);
  }

  protected override closed(): void {
    super.closed();
    this.#responses?.return?.().catch(() => {});
  }

  readonly #sent = (): void => {
    if (this.over) return;
    this.#sending = false;
    this.#feed?.taken();
    this.wake();
  };

  #pull(): void {
    if (this.over) return;
    this.#responses?.next().then(
      (result) => this.#push(result),
      (error) => this.fail(error),
    );
  }

  #push(result: IteratorResult<unknown>): void {
    if (this.over) return;
    try {
      if (result.done) this.succeed();
      else {
        this.send(result.value, this.#taken);
        this.waiting(this.stream.writableLength);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  readonly #taken = (): void => {
    if (this.over) return;
    this.waiting(0);
    this.#pull();
  };
}
