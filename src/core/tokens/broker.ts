import { Cluster, type ClusterDeps } from '../cluster/cluster.ts';
import type { ClusterStatus } from '../cluster/status.ts';
import { StoreClock } from '../cluster/store-clock.ts';
import type { Clock } from '../kernel/clock.ts';
import { CoalescedTimers } from '../kernel/coalesced-timers.ts';
import { appNotFoundError, drainingError, LingpaiError } from '../kernel/errors.ts';
import { Timeline } from '../kernel/timeline.ts';
import { type Coordinator, type Holder, LocalCoordinator } from './coordinator.ts';
import { type ForceResult, Keeper } from './keeper.ts';
import type { App, Deps, Settings, StoredApp } from './ports.ts';
import { RecordWriter } from './record-writer.ts';
import type { Rejected } from './rejected.ts';
import type { TokenState } from './state.ts';
import { relevant, Watch } from './watch.ts';

export type { ClusterDeps } from '../cluster/cluster.ts';
export type { ForceResult } from './keeper.ts';

/** What a broker needs of the world. Where replicas share a store, `store` is not asked. */
export interface BrokerDeps extends Deps {
  readonly cluster?: ClusterDeps | undefined;
}

/** Apps without a token are first asked for at this rate, so that a cold start is not one burst. */
const FIRST_CALLS_PER_MS = 0.5;

/** All keepers, and those who watch them. */
export class Broker {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #cluster: Cluster | undefined;
  readonly #keepers = new Map<string, Keeper>();
  /** Each outlives its app's keeper, so that what is not durable yet becomes so, and no two write one record. */
  readonly #recordWriters = new Map<string, RecordWriter>();
  /** What the store had at the start, and what given-up keepers left: should their apps come back. */
  readonly #stored = new Map<string, StoredApp>();
  /** Who watches which app; those who watch all are under `undefined`. */
  readonly #watches = new Map<string | undefined, Set<Watch>>();
  readonly #silences: CoalescedTimers<Watch>;
  readonly #closing = new Set<Promise<void>>();
  #watchers = 0;
  #draining = false;

  constructor(options: BrokerDeps, settings: Settings) {
    const { cluster, random, observe } = options;
    const clock = cluster ? new StoreClock(options.clock) : options.clock;
    const deps = { ...options, clock };
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = new Timeline(clock);
    if (cluster && clock instanceof StoreClock) {
      const catchUp = () => this.#catchUp();
      const onMembers = () => this.#tick();
      const circle = { deps: cluster, settings, clock, timeline: this.#timeline, random, observe, catchUp, onMembers };
      this.#cluster = new Cluster(circle);
    }
    this.#silences = new CoalescedTimers(deps.clock, settings.heartbeatMs, (watch) => watch.beat());
  }

  /** Loads the store and begins to keep the apps. Rejects when the store cannot be read. */
  async start(apps: readonly App[]): Promise<void> {
    if (this.#cluster) await this.#cluster.start();
    else for (const stored of await this.#deps.store.load()) this.#stored.set(stored.appId, stored);
    this.configure(apps);
  }

  /** Replaces the configured apps, gives up those that are missing, and tries at once what waits or was changed. */
  configure(apps: readonly App[]): void {
    if (this.#draining) return;
    this.#catchUp();
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
    this.#catchUp();
    const keeper = this.#keeper(appId);
    const minGeneration = options.minGeneration ?? 0;
    return keeper.peek(minGeneration) ?? keeper.obtain(minGeneration, options.signal?.());
  }

  /** Compare-and-refresh; see ForceRefresh in the proto. Fails with LingpaiError, or with the signal's reason. */
  async forceRefresh(appId: string, rejected: Rejected | undefined, signal?: AbortSignal): Promise<ForceResult> {
    this.#catchUp();
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
   * Subscribes to apps (none named: to all, also those that come later). `known` are the generations that the watcher
   * has. Throws APP_NOT_FOUND, TOO_MANY_WATCHERS or DRAINING.
   */
  watch(options: { appIds: readonly string[]; known: ReadonlyMap<string, number> }): Watch {
    this.#catchUp();
    const named = new Set(options.appIds);
    const keepers = named.size > 0 ? [...named].map((appId) => this.#keeper(appId)) : [...this.#keepers.values()];
    if (this.#draining) throw drainingError();
    if (this.#watchers >= this.#settings.maxWatchers) {
      throw new LingpaiError('watch.max_watchers streams are open', { reason: 'TOO_MANY_WATCHERS' });
    }
    this.#watchers++;
    const keys: Iterable<string | undefined> = named.size > 0 ? named : [undefined];
    const watch = new Watch({
      clock: this.#deps.clock,
      silences: this.#silences,
      known: relevant(
        options.known,
        keepers.map(({ state }) => state.appId),
      ),
      onDispose: (ended) => {
        this.#watchers--;
        for (const key of keys) this.#unsubscribe(key, ended);
      },
    });
    for (const key of keys) {
      const set = this.#watches.get(key) ?? new Set();
      this.#watches.set(key, set.add(watch));
    }
    for (const keeper of keepers) {
      this.#raiseGenerationAbove(keeper, watch.begin({ type: 'state', state: keeper.state }));
    }
    return watch;
  }

  /** Throws APP_NOT_FOUND unless the app is configured. */
  requireApp(appId: string): void {
    this.#keeper(appId);
  }

  /** The clock by which tokens age: the shared store's, where there is one. */
  get clock(): Clock {
    return this.#deps.clock;
  }

  /** How this replica sees its cluster; undefined: it is not one of several. */
  cluster(): ClusterStatus | undefined {
    return this.#cluster?.status();
  }

  /** Whether this is the name of another replica, and it lives. */
  isOther(replica: string): boolean {
    return this.#cluster?.isOther(replica) ?? false;
  }

  /** How many watches are open. */
  get watchers(): number {
    return this.#watchers;
  }

  /** The state of every configured app. */
  *states(): Generator<TokenState> {
    for (const keeper of this.#keepers.values()) yield keeper.state;
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
   * `users` of tokens have ended. Those in memory are still served. Resolves when all flights have landed and are stored.
   */
  async drain(reconnectWithinMs: number, users?: Promise<unknown>): Promise<void> {
    this.#draining = true;
    const goaway = (watch: Watch) => watch.goaway(this.#deps.random() * reconnectWithinMs);
    for (const watches of this.#watches.values()) watches.forEach(goaway);
    await users;
    await this.#close('await');
  }

  /** Ends everything; nothing is left when it resolves. The store stays open. */
  async stop(): Promise<void> {
    this.#draining = true;
    await this.#close('abort');
    for (const watches of this.#watches.values()) for (const watch of watches) watch[Symbol.dispose]();
  }

  async #close(inProgress: 'abort' | 'await'): Promise<void> {
    const reason = drainingError();
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.close(reason, inProgress)));
    await Promise.all(this.#closing);
    await Promise.all([...this.#recordWriters.values()].map((recordWriter) => recordWriter.stop()));
    await this.#cluster?.close();
  }

  #tick(): void {
    for (const keeper of this.#keepers.values()) keeper.tick();
  }

  #catchUp(): void {
    if (this.#timeline.jumped) this.sweep();
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
      coordinator: (holder) => this.#coordinator(app, holder),
      stored: this.#stored.get(appId),
      startDelayMs,
      catchUp: () => this.#catchUp(),
      onState: (state) => {
        if (this.#keepers.get(appId) === keeper) this.#offer(state, keeper);
      },
    });
    this.#keepers.set(appId, keeper);
    keeper.tick();
    this.#offer(keeper.state, keeper);
  }

  #coordinator(app: App, holder: Holder): Coordinator {
    if (this.#cluster) return this.#cluster.coordinator(app, holder);
    const { appId } = app;
    const recordWriter = this.#recordWriters.get(appId) ?? new RecordWriter(this.#deps, appId);
    this.#recordWriters.set(appId, recordWriter);
    return new LocalCoordinator({ appId, settings: this.#settings, timeline: this.#timeline, recordWriter, holder });
  }

  #remove(appId: string): void {
    const keeper = this.#keepers.get(appId);
    if (!keeper) return;
    this.#deps.observe({ type: 'app_removed', appId });
    const closing = keeper.close(appNotFoundError(appId), 'abort').then(() => {
      this.#closing.delete(closing);
      // What the flight still brought.
      if (!this.#keepers.has(appId)) this.#stored.set(appId, keeper.storedRecord);
    });
    this.#closing.add(closing);
    this.#stored.set(appId, keeper.storedRecord);
    this.#keepers.delete(appId);
    this.#eachWatch(appId, (watch) => watch.remove(appId));
  }

  #offer(state: TokenState, keeper: Keeper): void {
    const event = { type: 'state', state } as const;
    let newest = 0;
    this.#eachWatch(state.appId, (watch) => {
      newest = Math.max(newest, watch.offer(event));
    });
    this.#raiseGenerationAbove(keeper, newest);
  }

  /** A watcher came with a newer generation, unless this is 0. */
  #raiseGenerationAbove(keeper: Keeper, generation: number): void {
    if (this.#cluster && generation > 0) void keeper.raiseGenerationAbove(generation);
  }

  #eachWatch(appId: string, tell: (watch: Watch) => void): void {
    for (const watch of this.#watches.get(appId) ?? []) tell(watch);
    for (const watch of this.#watches.get(undefined) ?? []) tell(watch);
  }

  #unsubscribe(key: string | undefined, watch: Watch): void {
    const watches = this.#watches.get(key);
    watches?.delete(watch);
    if (watches?.size === 0) this.#watches.delete(key);
  }
}
