import { Code, ConnectError } from '@connectrpc/connect';
import { HEAD_BYTES } from './codec.ts';

const NOTHING = Buffer.alloc(0);

/**
 * Cuts the body of a request into its messages. It holds what has come of the next message in a buffer of its own: a
 * chunk is a window on all that one read of the socket brought, and would keep all of it.
 */
export class Deframer {
  readonly #maxBytes: number;
  #buffer: Buffer = NOTHING;
  #start = 0;
  #end = 0;
  #own = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** How much is held of a message, or of several, in bytes. */
  get held(): number {
    return this.#end - this.#start;
  }

  push(chunk: Buffer): void {
    const { held } = this;
    if (held === 0) {
      this.#buffer = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#own = false;
      return;
    }
    if (!this.#own || this.#buffer.length - this.#end < chunk.length) this.#move(2 * (held + chunk.length));
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  /** The next message that is whole, or undefined. Throws the ConnectError that ends a call with such a body. */
  next(): Uint8Array | undefined {
    const { held } = this;
    if (held === 0) return undefined;
    const flags = this.#buffer[this.#start];
    if (flags === 1) throw compressed();
    if (flags !== 0)
      throw new ConnectError(
        'a message begins with a byte that this server does not know: it has 0',
        Code.InvalidArgument,
      );
    if (held < HEAD_BYTES) return undefined;
    const length = this.#buffer.readUInt32BE(this.#start + 1);
    if (length > this.#maxBytes) {
      const words = `a message of ${length} bytes is too large: this method takes at most ${this.#maxBytes}`;
      throw new ConnectError(words, Code.ResourceExhausted);
    }
    if (held < HEAD_BYTES + length) return undefined;
    const from = this.#start + HEAD_BYTES;
    this.#start = from + length;
    const message = this.#buffer.subarray(from, this.#start);
    // A call may last for days after its last message.
    if (this.held === 0) this.clear();
    return message;
  }

  /** Forgets what is held. */
  clear(): void {
    this.#buffer = NOTHING;
    this.#start = 0;
    this.#end = 0;
    this.#own = false;
  }

  /** Keeps what is left for longer than this turn. */
  keep(): void {
    if (!this.#own && this.held > 0) this.#move(this.held);
  }

  #move(capacity: number): void {
    const buffer = Buffer.allocUnsafeSlow(capacity);
    this.#end = this.#buffer.copy(buffer, 0, this.#start, this.#end);
    this.#start = 0;
    this.#buffer = buffer;
    this.#own = true;
  }
}

/** The error of a call whose messages are compressed. */
export function compressed(): ConnectError {
  const words = 'compressed messages are not read here: send them as they are (grpc-encoding: identity)';
  return new ConnectError(words, Code.Unimplemented, { 'grpc-accept-encoding': 'identity' });
}

/** The error of a call whose body ends before its last message does. */
export function cutOff(): ConnectError {
  return new ConnectError('the request ends in the middle of a message', Code.InvalidArgument);
}

/** The error of a call with no message, or several, of a method that takes one: `lingpai.v1.TokenService/Get`. */
export function wrongCount(name: string): ConnectError {
  return new ConnectError(`${name} takes exactly one request message`, Code.Unimplemented);
}
