import { Code, ConnectError } from '@connectrpc/connect';
import { StreamCall } from './grpc-stream.ts';

/** A bidirectional call. A request is read only when the handler asks for it: at most one is held here. */
export class BidiCall extends StreamCall {
  #reader: { resolve(bytes: Uint8Array | undefined): void; reject(error: unknown): void } | undefined;

  protected override begin(): void {
    try {
      this.handle(this.#requests());
    } catch (error) {
      this.fail(error);
    }
  }

  override onReceiveMessage(bytes: Uint8Array): void {
    this.#reader?.resolve(bytes);
  }

  override onReceiveHalfClose(): void {
    this.#reader?.resolve(undefined);
  }

  protected override closed(): void {
    super.closed();
    this.#reader?.reject(isOver());
  }

  async *#requests(): AsyncGenerator<unknown> {
    for (let bytes = await this.#read(); bytes; bytes = await this.#read()) yield this.decode(bytes);
  }

  #read(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.over) return reject(isOver());
      this.#reader = { resolve, reject };
      this.call.startRead();
    });
  }
}

function isOver(): ConnectError {
  return new ConnectError('the call is over', Code.Canceled);
}
