import type { Clock } from '../core/kernel/clock.ts';
import type { CoalescedTimers, Waiting } from '../core/kernel/coalesced-timers.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import type { TokenState } from '../core/tokens/state.ts';
import type { WatchEvent, WatchReader } from '../core/tokens/watch.ts';
import type { WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import type { StreamControl } from '../transport/call.ts';
import type { Feed } from '../transport/service.ts';
import type { TokenMessages } from './token-messages.ts';

/** What a stream needs of a watch. */
export interface TokenWatch extends Disposable {
  onNews(reader: WatchReader): void;
  take(): WatchEvent | undefined;
  next(): Promise<WatchEvent | undefined>;
}

/** What a stream is made of. */
export interface WatchStreamDeps {
  readonly clock: Clock;
  readonly messages: TokenMessages;
  /** Is to call `stalled` for a stream that left one message unread for too long. */
  readonly stalls: CoalescedTimers<WatchStream>;
  /** Told how long a rotation took from WeChat's answer until the stream was done with writing it. */
  readonly propagation: (ms: number) => void;
}

/**
 * The responses of one WatchToken call. A listener either asks for them one at a time, or is woken and takes them (`take`,
 * `taken`): a rotation passes through 10,000 of these at once, and each promise on its way counts. The watch is released
 * when the stream ends, its reader returns, or the call is over, whichever comes first.
 */
export class WatchStream implements AsyncIterableIterator<WatchTokenResponse>, Feed<WatchTokenResponse>, Waiting {
  batch: Waiting['batch'];
  before: Waiting['before'];
  after: Waiting['after'];
  readonly #watch: TokenWatch;
  readonly #control: StreamControl;
  readonly #deps: WatchStreamDeps;
  readonly #openedAt: number;
  /** The generations whose states were written, of apps that rotated while the stream was open. */
  #rotated: Map<string, number> | undefined;
  /** What the reader has and has not yet written. */
  #unwritten: WatchEvent | undefined;
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

  /** Has `reader` woken when there may be something to take. */
  onNews(reader: WatchReader): void {
    this.#watch.onNews(reader);
  }

  /** The next response, if there is one. Fails as WatchToken does. */
  take(): WatchTokenResponse | undefined {
    const event = this.#released ? undefined : this.#watch.take();
    return event && this.#hand(event);
  }

  /** The response that was taken has been written. */
  taken(): void {
    this.#deps.stalls.stop(this);
    const event = this.#unwritten;
    this.#unwritten = undefined;
    if (event?.type === 'state') this.#measure(event.state);
  }

  async next(): Promise<IteratorResult<WatchTokenResponse>> {
    this.taken();
    try {
      const event = await this.#watch.next();
      if (event && !this.#released) return { done: false, value: this.#hand(event) };
      return this.return();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  return(): Promise<IteratorResult<WatchTokenResponse>> {
    this.#release();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the call: the response that was taken is not being written. `timeoutMs` says for how long. */
  stalled(timeoutMs: number): void {
    this.#release();
    this.#control.end(stalled(timeoutMs));
  }

  #hand(event: WatchEvent): WatchTokenResponse {
    this.#unwritten = event;
    this.#deps.stalls.start(this);
    return toMessage(this.#deps.messages, event);
  }

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
    this.#deps.stalls.stop(this);
    this.#watch[Symbol.dispose]();
  }
}

function toMessage(messages: TokenMessages, event: WatchEvent): WatchTokenResponse {
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
