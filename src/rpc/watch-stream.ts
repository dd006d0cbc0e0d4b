import type { Clock, Timer } from '../core/clock.ts';
import { LingpaiError } from '../core/errors.ts';
import type { TokenState } from '../core/state.ts';
import type { WatchEvent } from '../core/watch.ts';
import type { WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import type { Messages } from './messages.ts';
import type { StreamControl } from './stream-control.ts';

/** What a stream needs of a watch. */
export interface TokenWatch extends Disposable {
  next(): Promise<WatchEvent | undefined>;
}

/** What a stream is made of. */
export interface WatchStreamDeps {
  readonly clock: Clock;
  readonly messages: Messages;
  /** How long the stream may leave one message unread before it is ended. */
  readonly stallTimeoutMs: number;
  /** Told how long a rotation took from WeChat's answer until the stream was done with writing it. */
  readonly propagation: (ms: number) => void;
}

/**
 * The responses of one WatchToken call, read one at a time: asking for the next one says that the last was written. The
 * watch is released when the stream ends, its reader returns, or the call is over, whichever comes first; a reader that
 * leaves a message lying for `stallTimeoutMs` has its call ended.
 *
 * It is written out, and not an async generator, because a rotation passes through 10,000 of these at once.
 */
export class WatchStream implements AsyncIterableIterator<WatchTokenResponse> {
  readonly #watch: TokenWatch;
  readonly #control: StreamControl;
  readonly #deps: WatchStreamDeps;
  readonly #openedAt: number;
  /** The generations whose states were written, of apps that rotated while the stream was open. */
  #rotated: Map<string, number> | undefined;
  /** What the reader has and has not yet written, and since when. */
  #unwritten: { readonly event: WatchEvent; readonly since: number } | undefined;
  #stall: Timer | undefined;
  #released = false;

  constructor(watch: TokenWatch, control: StreamControl, deps: WatchStreamDeps) {
    this.#watch = watch;
    this.#control = control;
    this.#deps = deps;
    this.#openedAt = deps.clock.monotonic();
    control.onClose(() => this.#release());
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<WatchTokenResponse>> {
    const written = this.#unwritten?.event;
    this.#unwritten = undefined;
    if (written?.type === 'state') this.#measure(written.state);
    return this.#watch.next().then(this.#hand, this.#fail);
  }

  return(): Promise<IteratorResult<WatchTokenResponse>> {
    this.#release();
    return Promise.resolve({ done: true, value: undefined });
  }

  readonly #hand = (event: WatchEvent | undefined): IteratorResult<WatchTokenResponse> => {
    if (!event || this.#released) {
      this.#release();
      return { done: true, value: undefined };
    }
    this.#unwritten = { event, since: this.#deps.clock.monotonic() };
    this.#stall ??= this.#deps.clock.schedule(this.#deps.stallTimeoutMs, this.#checkStall);
    return { done: false, value: toMessage(this.#deps.messages, event) };
  };

  readonly #fail = (error: unknown): never => {
    this.#release();
    throw error;
  };

  /** One timer serves many messages: it looks when it fires, and is set again only if there is something to look for. */
  readonly #checkStall = (): void => {
    this.#stall = undefined;
    if (!this.#unwritten) return;
    const { clock, stallTimeoutMs } = this.#deps;
    const leftMs = this.#unwritten.since + stallTimeoutMs - clock.monotonic();
    if (leftMs > 0) {
      this.#stall = clock.schedule(leftMs, this.#checkStall);
      return;
    }
    this.#release();
    this.#control.end(stalled(stallTimeoutMs));
  };

  /** What was there before the stream was opened is no rotation, nor is the second state of a generation. */
  #measure({ appId, generation, current, answeredAt }: TokenState): void {
    if (!current || answeredAt < this.#openedAt || this.#rotated?.get(appId) === generation) return;
    this.#rotated ??= new Map();
    this.#rotated.set(appId, generation);
    this.#deps.propagation(this.#deps.clock.monotonic() - answeredAt);
  }

  #release(): void {
    this.#released = true;
    this.#unwritten = undefined;
    this.#stall?.cancel();
    this.#watch[Symbol.dispose]();
  }
}

function toMessage(messages: Messages, event: WatchEvent): WatchTokenResponse {
  switch (event.type) {
    case 'state':
      return messages.state(event.state);
    case 'heartbeat':
      return messages.heartbeat(event.asOf);
    case 'removed':
      return messages.removed(event.appId);
    case 'goaway':
      return messages.goaway(event.reconnectAfterMs);
  }
}

function stalled(timeoutMs: number): LingpaiError {
  const message = `this watch was not read for ${timeoutMs / 1000} s: reconnect, with what you know in known_generations`;
  return new LingpaiError(message, { reason: 'WATCHER_STALLED', retryAfterMs: 0 });
}
