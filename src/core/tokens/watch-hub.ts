import type { Clock } from '../kernel/clock.ts';
import { CoalescedTimers } from '../kernel/coalesced-timers.ts';
import { LingpaiError } from '../kernel/errors.ts';
import { Watch } from './watch.ts';

/** All open watches, by the app that they watch. */
export class WatchHub {
  readonly #clock: Clock;
  readonly #maxWatchers: number;
  readonly #silences: CoalescedTimers<Watch>;
  /** Who watches which app; those who watch all are under `undefined`. */
  readonly #watches = new Map<string | undefined, Set<Watch>>();
  #open = 0;

  constructor(options: { clock: Clock; heartbeatMs: number; maxWatchers: number }) {
    const { clock, heartbeatMs } = options;
    this.#clock = clock;
    this.#maxWatchers = options.maxWatchers;
    this.#silences = new CoalescedTimers(clock, heartbeatMs, (watch) => watch.beat());
  }

  /** How many watches are open. */
  get open(): number {
    return this.#open;
  }

  /**
   * Opens a watch of these apps; none named: of all, also those that come later. `known` are the generations that the
   * watcher has. Throws TOO_MANY_WATCHERS.
   */
  subscribe(appIds: ReadonlySet<string>, known: ReadonlyMap<string, number>): Watch {
    if (this.#open >= this.#maxWatchers)
      throw new LingpaiError('watch.max_watchers streams are open', { reason: 'TOO_MANY_WATCHERS' });
    this.#open++;
    const keys: Iterable<string | undefined> = appIds.size > 0 ? appIds : [undefined];
    const watch = new Watch({
      clock: this.#clock,
      silences: this.#silences,
      known,
      onDispose: (ended) => {
        this.#open--;
        for (const key of keys) this.#unsubscribe(key, ended);
      },
    });
    for (const key of keys) {
      const set = this.#watches.get(key) ?? new Set();
      this.#watches.set(key, set.add(watch));
    }
    return watch;
  }

  /** Tells all who watch the app. */
  each(appId: string, tell: (watch: Watch) => void): void {
    for (const watch of this.#watches.get(appId) ?? []) tell(watch);
    for (const watch of this.#watches.get(undefined) ?? []) tell(watch);
  }

  /** Tells every watch; one that names several apps several times. */
  all(tell: (watch: Watch) => void): void {
    for (const watches of this.#watches.values()) for (const watch of watches) tell(watch);
  }

  #unsubscribe(key: string | undefined, watch: Watch): void {
    const watches = this.#watches.get(key);
    watches?.delete(watch);
    if (watches?.size === 0) this.#watches.delete(key);
  }
}
