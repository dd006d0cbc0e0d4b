import type { Clock } from '../kernel/clock.ts';
import { CoalescedTimers } from '../kernel/coalesced-timers.ts';
import { LingpaiError } from '../kernel/errors.ts';
import { Watch } from './watch.ts';

/** Which apps a watch of all is told of, where that is not every one. It may change; see `Registry.rescope`. */
export interface Scope {
  /** Every app, those to come included. */
  seesAll(): boolean;
  sees(appId: string): boolean;
}

interface Scoped {
  readonly scope: Scope;
  /** The apps under which the watch stands, or `undefined` for all. */
  keys: Set<string | undefined>;
}

const ALL: readonly undefined[] = [undefined];

/** All open watches, by the app that they watch. */
export class WatchHub {
  readonly #clock: Clock;
  readonly #maxWatchers: number;
  readonly #silences: CoalescedTimers<Watch>;
  /** Who watches which app; those who watch all are under `undefined`. */
  readonly #watches = new Map<string | undefined, Set<Watch>>();
  /** The watches of all that have a scope. They stand under the apps that they see, so that a rotation costs them nothing. */
  readonly #scoped = new Map<Watch, Scoped>();
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
   * Opens a watch of these apps; none named: of all, also those that come later, or of those that the scope lets it see
   * (`rescope` is to be called then). `known` are the generations that the watcher has. Throws TOO_MANY_WATCHERS.
   */
  subscribe(appIds: ReadonlySet<string>, known: ReadonlyMap<string, number>, scope?: Scope): Watch {
    if (this.#open >= this.#maxWatchers)
      throw new LingpaiError('watch.max_watchers streams are open', { reason: 'TOO_MANY_WATCHERS' });
    this.#open++;
    const isScoped = scope !== undefined && appIds.size === 0;
    const keys: Iterable<string | undefined> = appIds.size > 0 ? appIds : isScoped ? [] : ALL;
    const watch = new Watch({
      clock: this.#clock,
      silences: this.#silences,
      known,
      onDispose: (ended) => {
        this.#open--;
        for (const key of this.#scoped.get(ended)?.keys ?? keys) this.#unsubscribe(key, ended);
        this.#scoped.delete(ended);
      },
    });
    if (isScoped) this.#scoped.set(watch, { scope, keys: new Set() });
    for (const key of keys) this.#subscribe(key, watch);
    return watch;
  }

  /** Has a watch see of these apps, which are all there are, those that its scope says now. Tells which are new to it, and which lost. */
  rescope(watch: Watch, appIds: Iterable<string>): { readonly gained: string[]; readonly lost: string[] } {
    const scoped = this.#scoped.get(watch);
    if (!scoped) return { gained: [], lost: [] };
    const { scope, keys: before } = scoped;
    const seesAll = scope.seesAll();
    const keys = new Set<string | undefined>(seesAll ? ALL : []);
    const [gained, lost]: [string[], string[]] = [[], []];
    for (const appId of appIds) {
      const saw = before.has(undefined) || before.has(appId);
      const sees = seesAll || scope.sees(appId);
      if (sees && !seesAll) keys.add(appId);
      if (sees !== saw) (sees ? gained : lost).push(appId);
    }
    for (const key of before) if (!keys.has(key)) this.#unsubscribe(key, watch);
    for (const key of keys) if (!before.has(key)) this.#subscribe(key, watch);
    scoped.keys = keys;
    return { gained, lost };
  }

  /** An app has come, and will be told of. */
  appear(appId: string): void {
    for (const [watch, { scope, keys }] of this.#scoped) {
      if (keys.has(undefined) || !scope.sees(appId)) continue;
      keys.add(appId);
      this.#subscribe(appId, watch);
    }
  }

  /** An app has gone, and was told of. */
  vanish(appId: string): void {
    for (const [watch, { keys }] of this.#scoped) if (keys.delete(appId)) this.#unsubscribe(appId, watch);
  }

  /** Tells all who watch the app. */
  each(appId: string, tell: (watch: Watch) => void): void {
    for (const watch of this.#watches.get(appId) ?? []) tell(watch);
    for (const watch of this.#watches.get(undefined) ?? []) tell(watch);
  }

  /** Tells every watch; one that names several apps several times. */
  all(tell: (watch: Watch) => void): void {
    for (const watches of this.#watches.values()) for (const watch of watches) tell(watch);
    for (const [watch, { keys }] of this.#scoped) if (keys.size === 0) tell(watch);
  }

  #subscribe(key: string | undefined, watch: Watch): void {
    const watches = this.#watches.get(key) ?? new Set();
    this.#watches.set(key, watches.add(watch));
  }

  #unsubscribe(key: string | undefined, watch: Watch): void {
    const watches = this.#watches.get(key);
    watches?.delete(watch);
    if (watches?.size === 0) this.#watches.delete(key);
  }
}
