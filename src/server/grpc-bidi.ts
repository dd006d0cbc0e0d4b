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

  override begin(): void {
    // Not `pause` and `resume`: a stream that is paused while it reads does not always go on.
    this.stream.on('readable', () => this.#receive());
    this.stream.on('end', () => {
      this.#hasEnded = true;
      this.#receive();
    });
    try {
      this.handle(this.#requests());
    } catch (error) {
      this.fail(error);
    }
  }

  protected override waiting(bytes: number): void {
    this.#unread = bytes;
    this.#holdAnew();
  }

  protected override closed(): void {
    super.closed();
    this.#reader?.reject(isOver());
    this.stream.removeAllListeners('readable').resume();
  }

  /** Gives the handler the request that it waits for, once that is whole. */
  #receive(): void {
    if (!this.#reader) return;
    try {
      let request = this.requests.next();
      while (!request) {
        const chunk = this.stream.read() as Buffer | null;
        if (!chunk) break;
        this.requests.push(chunk);
        request = this.requests.next();
      }
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
