import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Mask } from './mask.ts';

/** Bytes that may be kept, all calls together. */
export class KeptBytes {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** What is left of it. */
  get left(): number {
    return this.#left;
  }

  /** Whether there was so much left; then it is taken. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** A request's body on its way to WeChat. */
export interface RequestBody {
  /** What is sent; null: nothing. Once more, from its beginning, while it `isRepeatable`. */
  open(): Buffer | Readable | null;
  /** Whether all of it that was sent is still there. */
  readonly isRepeatable: boolean;
  /** Of a stream: the bytes that it has, where the client said so. */
  readonly length: number | undefined;
  /** Whether more of it is wanted from the client. */
  readonly isAwaited: boolean;
  /** Forgets what was kept, and leaves the rest of the request to others. */
  release(): void;
}

/** None, or one that is in memory. */
export class WholeBody implements RequestBody {
  readonly isRepeatable = true;
  readonly length = undefined;
  readonly isAwaited = false;
  readonly #bytes: Buffer | null;

  constructor(bytes: Buffer | null) {
    this.#bytes = bytes;
  }

  open(): Buffer | null {
    return this.#bytes;
  }

  release(): void {}
}

/**
 * One that passes as it comes. What has passed is kept, to `mostBytes` and as long as `kept` has room. A stream that `open` gives
 * may be destroyed without harm to the request.
 */
export class StreamedBody implements RequestBody {
  readonly length: number | undefined;
  readonly #request: IncomingMessage;
  readonly #mask: Mask;
  readonly #budget: KeptBytes;
  readonly #mostBytes: number;
  readonly #onMoved: () => void;
  /** Undefined: some of it is gone. */
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  /** How many of `#kept` the stream was given. */
  #given = 0;
  #stream: Readable | undefined;
  #hasEnded = false;
  #isWanted = false;

  constructor(options: {
    readonly request: IncomingMessage;
    readonly length: number | undefined;
    readonly mask: Mask;
    readonly budget: KeptBytes;
    readonly mostBytes: number;
    /** Told when the client has sent more. */
    readonly onMoved: () => void;
  }) {
    this.length = options.length;
    this.#request = options.request;
    this.#mask = options.mask;
    this.#budget = options.budget;
    this.#mostBytes = options.mostBytes;
    this.#onMoved = options.onMoved;
    this.#request.pause();
    this.#request.on('data', this.#onData).once('end', this.#onEnd);
  }

  get isRepeatable(): boolean {
    return this.#kept !== undefined;
  }

  get isAwaited(): boolean {
    return this.#isWanted && !this.#hasEnded;
  }

  open(): Readable {
    this.#given = 0;
    const stream = new Readable({
      read: () => this.#read(stream),
      destroy: (error, done) => {
        if (this.#stream === stream) this.#close();
        done(error);
      },
    });
    // The client's leaving is told by the response.
    stream.on('error', () => {});
    this.#stream = stream;
    return stream;
  }

  release(): void {
    this.#forget();
    this.#close();
    this.#request.off('data', this.#onData).off('end', this.#onEnd);
  }

  #close(): void {
    this.#stream = undefined;
    this.#isWanted = false;
    this.#request.pause();
  }

  #read(stream: Readable): void {
    while (this.#kept && this.#given < this.#kept.length) {
      if (!stream.push(this.#kept[this.#given++])) return;
    }
    if (this.#hasEnded) {
      stream.push(null);
      return;
    }
    this.#isWanted = true;
    this.#request.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#onMoved();
    this.#deliver(this.#mask.push(chunk));
  };

  readonly #onEnd = (): void => {
    this.#deliver(this.#mask.flush());
    this.#hasEnded = true;
    this.#stream?.push(null);
    this.#onMoved();
  };

  #deliver(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#keep(piece);
    if (!this.#stream) return;
    this.#given++;
    if (this.#stream.push(piece)) return;
    this.#isWanted = false;
    this.#request.pause();
  }

  #keep(piece: Buffer): void {
    if (!this.#kept) return;
    if (this.#keptBytes + piece.length <= this.#mostBytes && this.#budget.take(piece.length)) {
      this.#keptBytes += piece.length;
      this.#kept.push(piece);
    } else this.#forget();
  }

  #forget(): void {
    this.#budget.give(this.#keptBytes);
    this.#keptBytes = 0;
    this.#kept = undefined;
  }
}

/** The bytes that a request's body has; undefined: it comes in chunks. */
export function lengthOf({ headers }: IncomingMessage): number | undefined {
  return headers['transfer-encoding'] === undefined ? Number(headers['content-length'] ?? 0) : undefined;
}

/** All of a body of at most so many bytes; undefined: it is longer, or the client went. */
export function collect(request: IncomingMessage, mostBytes: number, onMoved: () => void): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (body: Buffer | undefined): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(body);
    };
    const onData = (chunk: Buffer): void => {
      onMoved();
      bytes += chunk.length;
      if (bytes > mostBytes) {
        request.pause();
        settle(undefined);
      } else chunks.push(chunk);
    };
    const onEnd = (): void => settle(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    const onClose = (): void => settle(undefined);
    request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

/** What is read of a request that has been answered. */
const MOST_DRAINED_BYTES = 32 * 1024 * 1024;

/**
 * Takes what the client still sends of a request that has been answered: were its connection closed at once, the answer could be
 * lost on the way. It is closed after 32 MiB. Once `onEnd` was called, nothing more comes.
 */
export function drain(request: IncomingMessage, onMoved: () => void, onEnd: () => void): void {
  const { socket } = request;
  let bytes = 0;
  const end = (): void => {
    request.off('data', onData).off('end', end);
    socket.off('close', end);
    onEnd();
  };
  const onData = (chunk: Buffer): void => {
    onMoved();
    bytes += chunk.length;
    if (bytes > MOST_DRAINED_BYTES) socket.destroy();
  };
  request.on('data', onData).once('end', end);
  // Node tells a request that was answered nothing of its connection's end.
  socket.once('close', end);
  request.resume();
}
