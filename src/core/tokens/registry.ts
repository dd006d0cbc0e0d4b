import { appNotFoundError, drainingError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { Coordinators } from './coordinator.ts';
import { type ForceResult, Keeper } from './keeper.ts';
import type { App, Deps, Settings, StoredApp } from './ports.ts';
import type { Rejected } from './rejected.ts';
import type { TokenState } from './state.ts';
import { relevant, type Watch } from './watch.ts';
import { type Scope, WatchHub } from './watch-hub.ts';

export type { ForceResult } from './keeper.ts';

/** What a registry needs of the world. */
export interface RegistryDeps extends Deps {
  readonly timeline: Timeline;
  readonly coordinators: Coordinators;
}

/** Apps without a token are first asked for at this rate, so that a cold start is not one burst. */
const FIRST_CALLS_PER_MS = 0.5;

/** The configured apps, each with its keeper, and those who watch them. */
export class Registry {
  readonly #deps: RegistryDeps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinators: Coordinators;
  readonly #hub: WatchHub;
  readonly #keepers = new Map<string, Keeper>();
  /** The records of apps without a keeper, from the store or from a keeper that was given up: such apps may come back. */
  readonly #stored = new Map<string, StoredApp>();
  readonly #closing = new Set<Promise<void>>();
  #draining = false;

  constructor(deps: RegistryDeps, settings: Settings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = deps.timeline;
    this.#coordinators = deps.coordinators;
    const { heartbeatMs, maxWatchers } = settings;
    this.#hub = new WatchHub({ clock: deps.clock, heartbeatMs, maxWatchers });
  }

  /** Loads the store and begins to keep the apps. Rejects when the store cannot be read. */
  async start(apps: readonly App[]): Promise<void> {
    const tick = () => {
      for (const keeper of this.#keepers.values()) keeper.tick();
    };
    const stored = await this.#coordinators.start({ catchUp: () => this.catchUp(), tick });
    for (const app of stored) this.#stored.set(app.appId, app);
    this.configure(apps);
  }

  /** Replaces the configured apps, gives up those that are missing, and tries at once what waits or was changed. */
  configure(apps: readonly App[]): void {
    if (this.#draining) return;
    this.catchUp();
    const { observe, random } = this.#deps;
    const ids = new Set(apps.map((app) => app.appId));
    for (const appId of this.#keepers.keys()) if (!ids.has(appId)) this.#remove(appId);
    const spreadMs = apps.length / FIRST_CALLS_PER_MS;
    for (const app of apps) {
      const { appId } = app;
      const keeper = this.#keepers.get(appId);
      if (!keeper) {
        observe({ type: 'app_added', appId });
        this.#add(app, random() * spreadMs);
      } else if (keeper.app.secret !== app.secret || keeper.app.issuer !== app.issuer) {
        observe({ type: 'app_changed', appId });
        keeper.update(app);
      } else keeper.reload();
    }
  }

  /**
   * A state with a usable token of at least `minGeneration`: at once where it is in memory, else a promise of what the
   * refresh brings. `signal` is only asked for when there is something to wait for. Fails with LingpaiError, or with the
   * signal's reason.
   */
  get(
    appId: string,
    options: { minGeneration?: number; signal?: () => AbortSignal } = {},
  ): TokenState | Promise<TokenState> {
    this.catchUp();
    const keeper = this.#keeper(appId);
    const minGeneration = options.minGeneration ?? 0;
    return keeper.peek(minGeneration) ?? keeper.obtain(minGeneration, options.signal?.());
  }

  /** Compare-and-refresh; see ForceRefresh in the proto. Fails with LingpaiError, or with the signal's reason. */
  async forceRefresh(appId: string, rejected: Rejected | undefined, signal?: AbortSignal): Promise<ForceResult> {
    this.catchUp();
    const keeper = this.#keeper(appId);
    try {
      const result = await keeper.force(rejected, signal);
      this.#deps.observe({ type: 'force_refresh', appId, result: result.outcome });
      return result;
    } catch (error) {
      this.#deps.observe({ type: 'force_refresh', appId, result: 'FAILED' });
      throw error;
    }
  }

  /**
   * Subscribes to apps (none named: to all, also those that come later, and of them those that `scope` lets it see). `known`
   * are the generations that the watcher has. Throws APP_NOT_FOUND, TOO_MANY_WATCHERS or DRAINING.
   */
  watch(options: {
    readonly appIds: readonly string[];
    readonly known: ReadonlyMap<string, number>;
    readonly scope?: Scope | undefined;
  }): Watch {
    this.catchUp();
    const { scope } = options;
    const named = new Set(options.appIds);
    const keepers =
      named.size > 0
        ? [...named].map((appId) => this.#keeper(appId))
        : [...this.#keepers.values()].filter(({ state }) => !scope || scope.sees(state.appId));
    if (this.#draining) throw drainingError();
    const watch = this.#hub.subscribe(
      named,
      relevant(
        options.known,
        keepers.map(({ state }) => state.appId),
      ),
      scope,
    );
    this.#hub.rescope(watch, this.#keepers.keys());
    for (const keeper of keepers) {
      this.#raiseGenerationAbove(keeper, watch.begin({ type: 'state', state: keeper.state }));
    }
    return watch;
  }

  /** The scope of a watch has changed: it is told that apps are gone which it sees no more, and of those that it sees now. */
  rescope(watch: Watch): void {
    const { gained, lost } = this.#hub.rescope(watch, this.#keepers.keys());
    for (const appId of lost) watch.remove(appId);
    for (const appId of gained) {
      const keeper = this.#keeper(appId);
      this.#raiseGenerationAbove(keeper, watch.offer({ type: 'state', state: keeper.state }));
    }
  }

  /** Throws APP_NOT_FOUND unless the app is configured. */
  requireApp(appId: string): void {
    this.#keeper(appId);
  }

  /** How many watches are open. */
  get watchers(): number {
    return this.#hub.open;
  }

  /** The state of every configured app. */
  *states(): Generator<TokenState> {
    for (const keeper of this.#keepers.values()) yield keeper.state;
  }

  /** Takes note of a clock that jumped, if one did. Cheap enough for each call. */
  catchUp(): void {
    if (this.#timeline.jumped) this.sweep();
  }

  /** Catches up with lost timers, a suspended machine and a clock that was set. To be called every 30 s. */
  sweep(): void {
    const byMs = this.#timeline.resync();
    if (byMs !== 0) this.#deps.observe({ type: 'clock_jumped', byMs });
    for (const keeper of this.#keepers.values()) {
      if (byMs !== 0) keeper.clockJumped(byMs);
      else keeper.tick();
    }
  }

  /**
   * Says goodbye to every watch, with a random time to reconnect below `reconnectWithinMs`, and begins nothing more once
   * `users` of tokens have ended. Those in memory are still served. Resolves when all refreshes have ended and are stored.
   */
  async drain(reconnectWithinMs: number, users?: Promise<unknown>): Promise<void> {
    this.#draining = true;
    this.#hub.all((watch) => watch.goaway(this.#deps.random() * reconnectWithinMs));
    await users;
    await this.#close('await');
  }

  /** Ends everything; nothing is left when it resolves. The store stays open. */
  async stop(): Promise<void> {
    this.#draining = true;
    await this.#close('abort');
    this.#hub.all((watch) => watch[Symbol.dispose]());
  }

  async #close(inProgress: 'abort' | 'await'): Promise<void> {
    const reason = drainingError();
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.close(reason, inProgress)));
    await Promise.all(this.#closing);
    await this.#coordinators.close();
  }

  #keeper(appId: string): Keeper {
    const keeper = this.#keepers.get(appId);
    if (keeper) return keeper;
    throw appNotFoundError(appId);
  }

  #add(app: App, startDelayMs: number): void {
    const { appId } = app;
    const keeper = new Keeper({
      deps: this.#deps,
      settings: this.#settings,
      timeline: this.#timeline,
      app,
      coordinator: (kept) => this.#coordinators.create(app, kept),
      stored: this.#stored.get(appId),
      startDelayMs,
      catchUp: () => this.catchUp(),
      onState: (state) => {
        if (this.#keepers.get(appId) === keeper) this.#offer(state, keeper);
      },
    });
    this.#keepers.set(appId, keeper);
    this.#hub.appear(appId);
    keeper.tick();
    this.#offer(keeper.state, keeper);
  }

  #remove(appId: string): void {
    const keeper = this.#keepers.get(appId);
    if (!keeper) return;
    this.#deps.observe({ type: 'app_removed', appId });
    const closing = keeper.close(appNotFoundError(appId), 'abort').then(() => {
      this.#closing.delete(closing);
      // What a refresh in progress still brought.
      if (!this.#keepers.has(appId)) this.#stored.set(appId, keeper.storedRecord);
    });
    this.#closing.add(closing);
    this.#stored.set(appId, keeper.storedRecord);
    this.#keepers.delete(appId);
    this.#hub.each(appId, (watch) => watch.remove(appId));
    this.#hub.vanish(appId);
  }

  #offer(state: TokenState, keeper: Keeper): void {
    const event = { type: 'state', state } as const;
    let newest = 0;
    this.#hub.each(state.appId, (watch) => {
      newest = Math.max(newest, watch.offer(event));
    });
    this.#raiseGenerationAbove(keeper, newest);
  }

  /** A watcher came with a newer generation, unless this is 0. */
  #raiseGenerationAbove(keeper: Keeper, generation: number): void {
    if (this.#coordinators.isShared && generation > 0) void keeper.raiseGenerationAbove(generation);
  }
}
