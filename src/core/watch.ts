import type { Clock } from './clock.ts';
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
  readonly #mailbox = new Mailbox<string, WatchEvent>();
  readonly #onDispose: () => void;
  #greeted = false;
  #ended: 'no' | 'goaway' | 'disposed' = 'no';

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
    if (known === undefined || known < state.generation) this.#mailbox.put(state.appId, { type: 'state', state });
  }

  /** Leaves a change in the mailbox, unless the watcher has seen something newer elsewhere. */
  offer(state: TokenState): void {
    if ((this.#known.get(state.appId) ?? 0) <= state.generation) {
      this.#mailbox.put(state.appId, { type: 'state', state });
    }
  }

  /** Says that an app is gone. */
  remove(appId: string): void {
    this.#mailbox.put(appId, { type: 'removed', appId });
  }

  /** Says goodbye; after it the watch has ended. */
  goaway(reconnectAfterMs: number): void {
    this.#mailbox.put(GOAWAY, { type: 'goaway', reconnectAfterMs });
  }

  /**
   * The next event: what is in the mailbox, or what comes, or a heartbeat after `heartbeatMs` without (the first time at
   * once). One call at a time. Undefined once the watch is disposed; rejects with DRAINING after a goaway.
   */
  async next(): Promise<WatchEvent | undefined> {
    if (this.#ended === 'goaway') throw new LingpaiError('the broker is shutting down', { reason: 'DRAINING' });
    let event = this.#ended === 'disposed' ? undefined : this.#mailbox.take();
    if (!event && this.#ended === 'no') {
      if (this.#greeted) await this.#news();
      event = this.#mailbox.take();
      if (this.#disposed()) return undefined;
      event ??= { type: 'heartbeat', asOf: this.#clock.now() };
    }
    this.#greeted = true;
    if (event?.type === 'goaway') this.#ended = 'goaway';
    return event;
  }

  [Symbol.dispose](): void {
    if (this.#disposed()) return;
    this.#ended = 'disposed';
    this.#mailbox.wake();
    this.#onDispose();
  }

  #disposed(): boolean {
    return this.#ended === 'disposed';
  }

  /** Resolves when something is in the mailbox, the watch is disposed, or it is time for a heartbeat. */
  #news(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(this.#heartbeatMs, () => this.#mailbox.wake());
      this.#mailbox.onNext(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
