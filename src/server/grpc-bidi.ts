import { Code, ConnectError } from '@connectrpc/connect';
import { cutOff } from './deframer.ts';
import { StreamCall } from './grpc-stream.ts';

/** A bidirectional call. A request is read only when the handler asks for it. */
export class BidiCall extends StreamCall {
  #reader: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  /** Bytes of a request that the caller has begun to send and the handler waits for, and of a response that is not read. */
  #begun = 0;
  #unread = 0;
  #hasEnded = false;

  /** The handler asks for what it wants to read. What arrives waits here, up to HTTP/2's window. */
  protected override open(): void {
    try {
      this.handle(this.#requests());
    } catch (error) {
      this.fail(error);
    }
  }

  protected override ended(): void {
    this.#hasEnded = true;
    this.#receive();
  }

  protected override unread(bytes: number): void {
    this.#unread = bytes;
    this.#holdAnew();
  }

  protected override closed(): void {
    super.closed();
    this.#reader?.reject(isOver());
    // What still comes is dropped.
    this.askForMore();
  }

  protected override arrived(chunk: Buffer): boolean {
    if (!this.over) {
      this.requests.push(chunk);
      this.#receive();
    }
    if (this.over || this.requests.held > 0) this.incomplete(chunk.length);
    return this.over || this.#reader !== undefined;
  }

  /** Gives the handler the request that it waits for, once that is whole. */
  #receive(): void {
    if (!this.#reader) return;
    try {
      const request = this.requests.next();
      if (!request && this.#hasEnded && this.requests.held > 0) throw cutOff();
      if (request || this.#hasEnded) this.#give(request);
      else {
        this.#begun = this.requests.held;
        this.#hold();
      }
    } catch (error) {
      this.fail(error);
    }
  }

  async *#requests(): AsyncGenerator<unknown> {
    for (let bytes = await this.#read(); bytes; bytes = await this.#read()) yield this.decode(bytes);
  }

  #read(): Promise<Uint8Array | undefined> {
    if (this.over) return Promise.reject(isOver());
    const reader = Promise.withResolvers<Uint8Array | undefined>();
    this.#reader = reader;
    this.#receive();
    if (this.#reader) this.askForMore();
    return reader.promise;
  }

  #give(request: Uint8Array | undefined): void {
    this.#reader?.resolve(request);
    this.#reader = undefined;
    this.#begun = 0;
    this.#holdAnew();
  }

  /** What has been waited for is there: the wait for the rest begins anew. */
  #holdAnew(): void {
    this.rpc.held.delete(this);
    this.#hold();
  }

  #hold(): void {
    const bytes = this.#begun + this.#unread;
    if (bytes > 0) this.rpc.held.set(this, bytes);
  }
}

function isOver(): ConnectError {
  return new ConnectError('the call is over', Code.Canceled);
}
