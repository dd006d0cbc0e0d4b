import type { Feed } from '../transport/service.ts';
import { GrpcCall } from './grpc-call.ts';
import { Outflow, type Outlet } from './outflow.ts';

/** A server-streaming call. */
export class StreamCall extends GrpcCall implements Outlet {
  readonly #outflow = new Outflow(this);

  protected override handle(input: unknown): void {
    this.#outflow.begin(this.rpc.impl(input, this) as AsyncIterable<unknown> | Feed);
  }

  waiting(isWaiting: boolean): void {
    this.unread(isWaiting ? this.stream.writableLength : 0);
  }

  /** A response of so many bytes waits for its reader; 0: it has left. */
  protected unread(bytes: number): void {
    if (bytes > 0) this.rpc.held.set(this, bytes);
    else this.rpc.held.delete(this);
  }

  protected override closed(): void {
    super.closed();
    this.#outflow.close();
  }
}
