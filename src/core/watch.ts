import type { Clock, Timer } from './clock.ts';
import { LingpaiError } from './errors.ts';
import { Mailbox } from './mailbox.ts';
import type { TokenState } from './state.ts';

/** What a watcher is told. Times are wall-clock milliseconds since 1970. */
export type WatchEvent =
  | { readonly type: 'state'; readonly state: TokenState }
  | { readonly type: 'heartbeat'; readonly asOf: number }
  | { readonly type: 'removed'; readonly appId: string }
  | { readonly type: 'goaway'; readonly reconnectAfterMs: number };

/** No app has this id: app ids are not empty. */
const GOAWAY = '';

/** One subscription: a mailbox of one per app, read at the reader's pace. Dispose it when the reader leaves. */
export class Watch implements Disposable {
  readonly #clock: Clock;
  readonly #heartbeatMs: number;
  readonly #known: ReadonlyMap<string, number>;
  readonly #onDispose: () => void;
  readonly #mailbox = new Mailbox<string, WatchEvent>();
  /** Takes the next event straight to a reader who waits. */
  #reader: ((event: WatchEvent | undefined) => void) | undefined;
  #waitingSince = 0;
  #timer: Timer | undefined;
  #stage: 'new' | 'open' | 'goaway' | 'disposed' = 'new';

  /** `known` are the generations that the watcher already has, by app id. `onDispose` is called once. */
  constructor(options: {
    clock: Clock;
    heartbeatMs: number;
    known: ReadonlyMap<string, number>;
    onDispose: () => void;
  }) {
    this.#clock = options.clock;
    this.#heartbeatMs = options.heartbeatMs;
    this.#known = options.known;
    this.#onDispose = options.onDispose;
  }

  /** Leaves the first state of an app in the mailbox, unless the watcher has it. */
  begin(state: TokenState): void {
    const known = this.#known.get(state.appId);
    if (known === undefined || known < state.generation) this.#tell(state.appId, { type: 'state', state });
  }

  /** Leaves a change in the mailbox, unless the watcher has seen something newer elsewhere. */
  offer(state: TokenState): void {
    if ((this.#known.get(state.appId) ?? 0) <= state.generation) this.#tell(state.appId, { type: 'state', state });
  }

  /** Says that an app is gone. */
  remove(appId: string): void {
    this.#tell(appId, { type: 'removed', appId });
  }

  /** Says goodbye; after it the watch has ended. */
  goaway(reconnectAfterMs: number): void {
    this.#tell(GOAWAY, { type: 'goaway', reconnectAfterMs });
  }

  /**
   * The next event: what is in the mailbox, or what comes, or a heartbeat after `heartbeatMs` without (the first time at
   * once). One call at a time. Undefined once the watch is disposed; rejects with DRAINING after a goaway.
   */
  next(): Promise<WatchEvent | undefined> {
    if (this.#stage === 'disposed') return Promise.resolve(undefined);
    if (this.#stage === 'goaway') {
      return Promise.reject(
        new LingpaiError('the broker is shutting down', { reason: 'DRAINING', retryAfterMs: 1_000 }),
      );
    }
    const event = this.#mailbox.take() ?? (this.#stage === 'new' ? this.#heartbeat() : undefined);
    if (event) return Promise.resolve(this.#handOver(event));
    return new Promise((resolve) => {
      this.#reader = resolve;
      this.#waitingSince = this.#clock.monotonic();
      this.#timer ??= this.#clock.schedule(this.#heartbeatMs, this.#beat);
    });
  }

  [Symbol.dispose](): void {
    if (this.#stage === 'disposed') return;
    this.#stage = 'disposed';
    this.#timer?.cancel();
    this.#reader?.(undefined);
    this.#onDispose();
  }

  #tell(key: string, event: WatchEvent): void {
    const reader = this.#reader;
    if (reader) {
      this.#reader = undefined;
      reader(this.#handOver(event));
    } else this.#mailbox.put(key, event);
  }

  #handOver(event: WatchEvent): WatchEvent {
    this.#stage = event.type === 'goaway' ? 'goaway' : 'open';
    return event;
  }

  #heartbeat(): WatchEvent {
    return { type: 'heartbeat', asOf: this.#clock.now() };
  }

  /** The timer outlives what comes in between, and is set anew only when it fires: events are many, heartbeats few. */
  readonly #beat = (): void => {
    this.#timer = undefined;
    const reader = this.#reader;
    if (!reader) return;
    const leftMs = this.#waitingSince + this.#heartbeatMs - this.#clock.monotonic();
    if (leftMs > 0) {
      this.#timer = this.#clock.schedule(leftMs, this.#beat);
      return;
    }
    this.#reader = undefined;
    reader(this.#handOver(this.#heartbeat()));
  };
}
