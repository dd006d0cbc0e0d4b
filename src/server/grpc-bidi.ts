import { Readable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { cutOff } from './grpc-call.ts';
import { StreamCall } from './grpc-stream.ts';

/** A bidirectional call. A request is read only when the handler asks for it. */
export class BidiCall extends StreamCall {
  #reader: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  /** Bytes of a request that the caller has begun to send and the handler waits for, and of a response that is not read. */
  #begun = 0;
  #unread = 0;
  #hasEnded = false;

  /**
   * What arrives goes into a buffer of ours, up to HTTP/2's window, instead of the stream's: that holds an object for each
   * DATA frame, which may have one byte, and a window of those takes 8 MiB. `push` is told whether to ask for more.
   */
  override begin(): void {
    const { stream } = this;
    this.#takeOver();
    stream.push = (chunk: Buffer | null) => {
      if (chunk) return this.#arrived(chunk);
      this.#hasEnded = true;
      this.#receive();
      stream.resume();
      return Readable.prototype.push.call(stream, null);
    };
    try {
      this.handle(this.#requests());
    } catch (error) {
      this.fail(error);
    }
  }

  /** What came while it was not known who calls lies in the stream's own buffer. */
  #takeOver(): void {
    const { stream } = this;
    if (!this.head.isLate) return;
    // Without anything in it the stream may have ended by itself.
    this.#hasEnded = stream.readableEnded;
    if (this.#hasEnded) return;
    stream.once('end', () => {
      this.#hasEnded = true;
      this.#receive();
    });
    const early: Buffer | null = stream.read();
    if (early) this.requests.push(early);
  }

  protected override waiting(bytes: number): void {
    this.#unread = bytes;
    this.#holdAnew();
  }

  protected override closed(): void {
    super.closed();
    this.#reader?.reject(isOver());
    // What still comes is dropped.
    this.#askForMore();
  }

  /** Returns whether more is wanted now. */
  #arrived(chunk: Buffer): boolean {
    if (!this.over) {
      this.requests.push(chunk);
      this.#receive();
    }
    if (this.over || this.requests.held > 0) this.incomplete(chunk.length);
    return this.over || this.#reader !== undefined;
  }

  #askForMore(): void {
    if (!this.stream.destroyed && !this.#hasEnded) this.stream._read(0);
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
    if (this.#reader) this.#askForMore();
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
