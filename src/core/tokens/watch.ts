import type { Clock } from '../kernel/clock.ts';
import type { CoalescedTimers, Waiting } from '../kernel/coalesced-timers.ts';
import { drainingError } from '../kernel/errors.ts';
import { Mailbox } from '../kernel/mailbox.ts';
import type { TokenState } from './state.ts';

/** An app's whole state, as one object for all its watchers. */
export interface StateEvent {
  readonly type: 'state';
  readonly state: TokenState;
}

/** What a watcher is told. Times are wall-clock milliseconds since 1970. */
export type WatchEvent =
  | StateEvent
  | { readonly type: 'heartbeat'; readonly asOf: number }
  | { readonly type: 'removed'; readonly appId: string }
  | { readonly type: 'goaway'; readonly reconnectAfterMs: number };

/** How many apps a watch may know of that are not here: a change of the configuration brings a few at a time. */
const MAX_ABSENT = 100;

/** Of what a watcher knows, that which may matter: all of the apps that are `here`, and the first 100, which may still come. */
export function relevant(known: ReadonlyMap<string, number>, here: readonly string[]): ReadonlyMap<string, number> {
  const record = new Map<string, number>();
  for (const [appId, generation] of known) {
    if (record.size >= MAX_ABSENT) break;
    record.set(appId, generation);
  }
  for (const appId of here) {
    const generation = known.get(appId);
    if (generation !== undefined) record.set(appId, generation);
  }
  return record;
}

/** No app has this id: app ids are not empty. */
const GOAWAY = '';

/** Who reads a watch. */
export interface WatchReader {
  /** There may be something to take. Called within whatever brings it; it must not throw. */
  wake(): void;
}

/** One subscription: a mailbox of one per app, read at the reader's pace. Dispose it when the reader leaves. */
export class Watch implements Disposable, Waiting {
  batch: Waiting['batch'];
  before: Waiting['before'];
  after: Waiting['after'];
  readonly #clock: Clock;
  readonly #silences: CoalescedTimers<Watch>;
  readonly #known: ReadonlyMap<string, number>;
  readonly #onDispose: (watch: Watch) => void;
  readonly #mailbox = new Mailbox<string, WatchEvent>();
  #reader: WatchReader | undefined;
  /** `silent`: it is time for a heartbeat, as it is at the start. */
  #stage: 'silent' | 'open' | 'goaway' | 'disposed' = 'silent';

  /**
   * `known` are the generations that the watcher already has, by app id. `silences` is to call `beat` for a watch from
   * which nothing was taken for as long as it may be silent. `onDispose` is called once.
   */
  constructor(options: {
    clock: Clock;
    silences: CoalescedTimers<Watch>;
    known: ReadonlyMap<string, number>;
    onDispose: (watch: Watch) => void;
  }) {
    this.#clock = options.clock;
    this.#silences = options.silences;
    this.#known = options.known;
    this.#onDispose = options.onDispose;
  }

  /** As `offer`, for the first state of an app: not left either where the watcher has just this generation. */
  begin(event: StateEvent): number {
    const { appId, generation } = event.state;
    return this.#known.get(appId) === generation ? 0 : this.offer(event);
  }

  /** Leaves a change in the mailbox, unless the watcher came with a newer generation: then returns that, else 0. */
  offer(event: StateEvent): number {
    const { appId, generation } = event.state;
    const known = this.#known.get(appId) ?? 0;
    if (known > generation) return known;
    this.#tell(appId, event);
    return 0;
  }

  /** Says that an app is gone. */
  remove(appId: string): void {
    this.#tell(appId, { type: 'removed', appId });
  }

  /** Says goodbye; after it the watch has ended. */
  goaway(reconnectAfterMs: number): void {
    this.#tell(GOAWAY, { type: 'goaway', reconnectAfterMs });
  }

  /** Says that there is nothing to say. */
  beat(): void {
    if (this.#stage === 'open') this.#stage = 'silent';
    this.#reader?.wake();
  }

  /** Has `reader` woken, in place of the one before. */
  onNews(reader: WatchReader): void {
    this.#reader = reader;
  }

  /**
   * The next event, if there is one: what is in the mailbox, or a heartbeat `heartbeatMs` after the last event (the first
   * time at once). Throws DRAINING after a goaway.
   */
  take(): WatchEvent | undefined {
    if (this.#stage === 'disposed') return undefined;
    if (this.#stage === 'goaway') {
      throw drainingError();
    }
    const event = this.#mailbox.take() ?? (this.#stage === 'silent' ? this.#heartbeat() : undefined);
    if (!event) return undefined;
    this.#stage = event.type === 'goaway' ? 'goaway' : 'open';
    if (this.#stage === 'open') this.#silences.start(this);
    else this.#silences.stop(this);
    return event;
  }

  /** The next event, as `take`, but waits for it. One call at a time. Undefined once the watch is disposed. */
  async next(): Promise<WatchEvent | undefined> {
    for (;;) {
      const event = this.take();
      if (event || this.#disposed()) return event;
      await new Promise<void>((wake) => this.onNews({ wake }));
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed()) return;
    this.#stage = 'disposed';
    this.#silences.stop(this);
    this.#reader?.wake();
    this.#onDispose(this);
  }

  #tell(key: string, event: WatchEvent): void {
    this.#mailbox.put(key, event);
    this.#reader?.wake();
  }

  #heartbeat(): WatchEvent {
    return { type: 'heartbeat', asOf: this.#clock.now() };
  }

  #disposed(): boolean {
    return this.#stage === 'disposed';
  }
}
