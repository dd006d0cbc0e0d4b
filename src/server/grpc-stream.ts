import { constants } from 'node:http2';
import type { ContextValues } from '@connectrpc/connect';
import type { Timer } from '../core/kernel/clock.ts';
import { GrpcCall } from './grpc-call.ts';
import type { Feed, StreamControl } from './mount.ts';

/** How long the status of a call that was ended may wait for a reader before the stream is reset. */
const RESET_AFTER_MS = 1_000;

/** A server-streaming call. A response is asked for only when the one before has left: at most one is held here. */
export class StreamCall extends GrpcCall implements StreamControl {
  #feed: Feed | undefined;
  #sending = false;
  #responses: AsyncIterator<unknown> | undefined;
  #releases: (() => void)[] = [];
  #reset: Timer | undefined;

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

  /** Sends what the feed has, if nothing is on its way. */
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

  override onCancel(): void {
    this.#reset?.cancel();
    super.onCancel();
  }

  onClose(release: () => void): void {
    if (this.over) release();
    else this.#releases.push(release);
  }

  end(error: unknown): void {
    if (this.over) return;
    this.fail(error);
    // Behind data that nobody reads the status cannot leave; a reset can, and frees the data, which would otherwise be held
    // until the connection ends. gRPC clients see RESOURCE_EXHAUSTED.
    const reset = () => this.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#reset = this.rpc.mount.clock.schedule(RESET_AFTER_MS, reset);
  }

  protected override newValues(): ContextValues {
    return this.rpc.mount.streamValues(this);
  }

  protected override closed(): void {
    super.closed();
    for (const release of this.#releases.splice(0)) release();
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
      else this.send(result.value, () => this.#pull());
    } catch (error) {
      this.fail(error);
    }
  }
}
