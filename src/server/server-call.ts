import type { IncomingHttpHeaders } from 'node:http';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, type HandlerContext } from '@connectrpc/connect';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import type { StreamControl } from '../transport/call.ts';
import { toHeaders } from './headers.ts';

/** One for all: making an error for each call costs a twentieth of a send. */
const ENDED = new ConnectError('the call has ended', Code.Canceled);

/** A call, whatever it came by, and its HandlerContext; what a handler does not ask for is not made. */
export abstract class ServerCall implements HandlerContext, StreamControl {
  /** The call has its status: nothing more becomes of it. */
  over = false;
  protected readonly startedAt: number;
  readonly #clock: Clock;
  #timeoutMs: number | undefined;
  #timer: Timer | undefined;
  #abort: AbortController | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #releases: (() => void)[] | undefined;

  abstract readonly method: DescMethod;
  abstract readonly protocolName: string;
  abstract readonly url: string;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.startedAt = clock.monotonic();
  }

  /** To be called once with how long the caller waits; undefined: for ever. */
  protected waitAtMost(timeoutMs: number | undefined): void {
    if (timeoutMs === undefined) return;
    this.#timeoutMs = timeoutMs;
    this.#timer = this.#clock.schedule(timeoutMs, () => this.fail(late()));
  }

  /** Ends the call with this error, unless it is over. */
  abstract fail(error: unknown): void;
  abstract end(error: unknown): void;
  protected abstract makeValues(): ContextValues;
  protected abstract get headers(): IncomingHttpHeaders;

  onClose(release: () => void): void {
    if (this.over) release();
    else if (this.#releases) this.#releases.push(release);
    else this.#releases = [release];
  }

  /** Releases what the call holds; to be called once, when its status is decided. */
  protected closed(): void {
    this.over = true;
    this.#timer?.cancel();
    this.#abort?.abort(ENDED);
    if (this.#releases) for (const release of this.#releases.splice(0)) release();
  }

  /** What the handler has set, if anything. */
  protected get headersSet(): Headers | undefined {
    return this.#responseHeader;
  }

  protected get trailersSet(): Headers | undefined {
    return this.#responseTrailer;
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.over) this.#abort.abort(ENDED);
    }
    return this.#abort.signal;
  }

  timeoutMs(): number | undefined {
    const timeoutMs = this.#timeoutMs;
    return timeoutMs === undefined ? undefined : this.startedAt + timeoutMs - this.#clock.monotonic();
  }

  get values(): ContextValues {
    this.#values ??= this.makeValues();
    return this.#values;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= toHeaders(this.headers);
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get service(): DescService {
    return this.method.parent;
  }

  get requestMethod(): string {
    return 'POST';
  }
}

/** The error of a call whose caller waits no longer. */
export function late(): ConnectError {
  return new ConnectError("the call's deadline has passed", Code.DeadlineExceeded);
}
