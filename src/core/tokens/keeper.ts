import { abortable } from '../kernel/abortable.ts';
import type { Timer } from '../kernel/clock.ts';
import { callersError, LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, emptyRecord, extendedBy, fromStored, sameToken, toStored } from './app-record.ts';
import { nextAttemptAt } from './backoff.ts';
import type { Coordinator, KeptRecord } from './coordinator.ts';
import { Force, type ForceResult } from './force.ts';
import { ISSUERS, isMint } from './issuers.ts';
import { type Plan, planNext } from './plan.ts';
import type { App, Deps, Settings, SharedPart, StoredApp, TokenCall } from './ports.ts';
import { Published } from './published.ts';
import { Superseded } from './record-change.ts';
import type { Refresh, RefreshOwner } from './refresh.ts';
import { Refresher } from './refresher.ts';
import type { Rejected } from './rejected.ts';
import { dueAt } from './schedule.ts';
import type { TokenState } from './state.ts';
import type { Suspicion } from './suspicion.ts';
import { isNews, TokenHealth } from './token-health.ts';
import { Trial } from './trial.ts';
import { viewOf } from './view.ts';

export type { ForceResult } from './force.ts';

/** Of so many probes that are another replica's turn this replica makes one: the other may not reach WeChat. */
const PROBES_OF_OTHERS = 4;
/** The pause between probes where they are off, while a token is reported and WeChat has not said whether it accepts it. */
const SUSPECT_PROBE_MS = 60_000;
/** A generation is a wall time or follows one: one that is farther ahead of the clock is made up. */
const FARTHEST_GENERATION_MS = 24 * 3_600_000;

const OTHER_ISSUER =
  'another replica has another issuer for this app: give all of them the same, and until then each refreshes by its own';

/** Owns one app's token: one refresh at a time, one timer, and the state that callers see. */
export class Keeper {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinator: Coordinator;
  readonly #refresher: Refresher;
  readonly #force: Force;
  readonly #catchUp: () => void;
  readonly #published: Published;
  #app: App;
  #record: AppRecord;
  readonly #tokenHealth = new TokenHealth();
  /** What is due is not begun before this (see Situation). */
  #startAt: number;
  /** See Situation. */
  #isSwitched = true;
  /** A caller waits for a token: this replica refreshes although it is another's turn. */
  #wanted = false;
  /** This replica was asked for the next step: it is made here and at once, although it may be another's turn. */
  #isUrgent = false;
  #trial: Trial | undefined;
  #probeAt: number;
  /** How many probes were left to another replica. */
  #probesLeftOut = 0;
  #timer: Timer | undefined;
  #closed: LingpaiError | undefined;

  /**
   * `onState` gets each state that watchers should see. `startDelayMs` spreads the first calls of many apps. `catchUp` tells
   * every keeper, this one too, of a clock that jumped.
   */
  constructor(options: {
    deps: Deps;
    settings: Settings;
    timeline: Timeline;
    app: App;
    /** Makes the keeper's coordinator. */
    coordinator: (kept: KeptRecord) => Coordinator;
    stored: StoredApp | undefined;
    startDelayMs: number;
    catchUp: () => void;
    onState: (state: TokenState) => void;
  }) {
    const { deps, settings, timeline, app, stored, catchUp } = options;
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#app = app;
    this.#catchUp = catchUp;
    this.#record = emptyRecord(app.issuer);
    this.#coordinator = options.coordinator({
      read: () => this.#record,
      take: (record) => this.#take(record),
      onChange: () => this.#publish(),
    });
    const owner: RefreshOwner = {
      app: () => this.#app,
      read: () => this.#record,
      hasGood: () => this.#hasGood(),
      catchUp,
      publish: () => this.#publish(),
      pause: (ms) => {
        this.#startAt = this.#now() + ms;
      },
      landed: () => this.tick(),
      tried: (tried, call, error) => this.#judge(tried, call, error),
    };
    const parts = { deps, settings, timeline, coordinator: this.#coordinator, tokenHealth: this.#tokenHealth, owner };
    this.#refresher = new Refresher(parts);
    this.#force = new Force(parts, this.#refresher, {
      state: () => this.state,
      peek: () => this.peek(),
      want: () => this.#want(),
      inFlight: () => this.#inFlight(),
    });
    const now = this.#now();
    this.#record = stored
      ? fromStored(stored, now, timeline, (life) => dueAt(life, stored.issuer, settings, deps.random()))
      : (this.#coordinator.known() ?? this.#record);
    if (this.#record.shared) this.#learn(this.#record.shared);
    this.#startAt = now + options.startDelayMs;
    this.#probeAt = settings.probeIntervalMs > 0 ? now + deps.random() * settings.probeIntervalMs : Infinity;
    this.#published = new Published(this.#view(now), (next, before) => {
      const { appId, status, statusReason } = next;
      if (before.status !== status)
        deps.observe({ type: 'status', appId, from: before.status, to: status, reason: statusReason });
      options.onState(next);
    });
  }

  /** The newest published state; the same object until something changes. */
  get state(): TokenState {
    return this.#published.state;
  }

  /** The app as it is configured now. */
  get app(): App {
    return this.#app;
  }

  /** What the store has, or will have, of the app. */
  get storedRecord(): StoredApp {
    return toStored(this.#app.appId, this.#record, this.#timeline);
  }

  /** The state if it has a usable token of at least this generation, else undefined. */
  peek(minGeneration = 0): TokenState | undefined {
    const { current } = this.#record;
    const usable = current !== null && current.expiresAt > this.#now() && this.state.current !== null;
    return usable && this.state.generation >= minGeneration ? this.state : undefined;
  }

  /** Does what is due. It is called at the start and whenever a timer may have been lost, and is harmless at any time. */
  tick(): void {
    if (this.#closed) return;
    this.#publish();
    const now = this.#now();
    const plan = this.#plan(now);
    if (!this.#refresher.current) {
      const isDue = now >= plan.at + this.#standbyDelayMs(plan);
      this.#isUrgent = false;
      if (isDue) this.#refresher.carryOut(plan.step);
    }
    if (this.#probeAt === Infinity && this.#suspicion?.error) this.#probeAt = now + SUSPECT_PROBE_MS;
    if (!this.#refresher.current && now >= this.#probeAt) this.#watchOver(now);
    this.#arm(now);
  }

  /** Probes the token. One that is reported is probed though probes are off, and though it is another replica's turn. */
  #watchOver(now: number): void {
    const isSuspected = this.#suspicion?.error !== undefined;
    const intervalMs = this.#settings.probeIntervalMs || (isSuspected ? SUSPECT_PROBE_MS : Infinity);
    this.#probeAt = now + intervalMs;
    if (intervalMs === Infinity) return;
    const isTurn =
      this.#coordinator.standbyDelayMs(this.#record) === 0 || ++this.#probesLeftOut % PROBES_OF_OTHERS === 0;
    const isMine = isSuspected || isTurn;
    const isReachable = this.#tokenHealth.health.kind === 'well' && !this.#tokenHealth.isAway(now);
    if (isMine && isReachable && this.#hasGood()) this.#refresher.ask('probe');
  }

  /** Takes a changed secret or issuer into use. The secret is tried at once. */
  update(app: App): void {
    const before = this.#app;
    this.#isSwitched ||= app.issuer !== before.issuer;
    this.#app = app;
    if (app.secret !== before.secret) this.#trial = new Trial(this.#now());
    this.#tokenHealth.secretFault = '';
    this.#tokenHealth.retryNow(this.#now());
    this.#isUrgent = true;
    this.tick();
  }

  /** The configuration was read again: what waits for an operator, or for a quota, is tried at once. */
  reload(): void {
    const { health } = this.#tokenHealth;
    // Each call asks the administrator again, and this app may not be why the file was read.
    if (health.kind === 'failing' && health.error.reason.startsWith('CONFIRMATION_')) return;
    if (this.#trial) this.#trial.at = Math.min(this.#trial.at, this.#now());
    this.#tokenHealth.retryNow(this.#now());
    this.#isUrgent = true;
    this.tick();
  }

  /** Takes note of what WeChat said to a call with a changed secret. */
  #judge(app: App, call: TokenCall, error: unknown): void {
    const trial = this.#trial;
    if (!trial || app !== this.#app) return;
    const result = trial.judge(error);
    const upstream = error instanceof UpstreamError ? error : undefined;
    if (result) this.#deps.observe({ type: 'secret_tried', appId: app.appId, result, error: upstream });
    if (error === undefined) {
      this.#trial = undefined;
      this.#tokenHealth.secretFault = '';
    } else if (upstream && !isMint(call) && !ISSUERS[app.issuer].isReadable) {
      const { clock, random } = this.#deps;
      const [now, { quotaResetHour }] = [this.#now(), this.#settings];
      const attempt = { now, startedAt: now, failures: trial.failures, random, wallNow: clock.now(), quotaResetHour };
      trial.at = nextAttemptAt(upstream, attempt);
      this.#tokenHealth.secretFault = upstream.message;
    } else if (!(error instanceof Superseded)) trial.at = Infinity; // the refresh that failed is tried again
    this.#publish();
  }

  /**
   * Takes note that the wall clock moved by `byMs` against monotonic time; the timeline has adopted that. A leap ahead makes all
   * tokens older by as much, and may have ended a life. Or the clock was only set.
   */
  clockJumped(byMs: number): void {
    const now = this.#now();
    const token = this.#tokenHealth.doubt ?? this.#record.current;
    if (byMs > 0 && token && token.expiresAt <= now && token.expiresAt + byMs > now)
      this.#tokenHealth.doubt = extendedBy(token, byMs);
    // The wall clock was set back: the stored times lie too far ahead.
    if (byMs < 0 && !this.#refresher.current) void this.#coordinator.change({ type: 'rewrite' });
    this.tick();
  }

  /** A state with a usable token of at least this generation: waits for the refresh, or for the generation. */
  async obtain(minGeneration: number, signal: AbortSignal | undefined): Promise<TokenState> {
    for (;;) {
      const state = this.peek(minGeneration);
      if (state) return state;
      this.#want();
      if (this.peek()) await this.#published.next(signal);
      else await abortable(this.#inFlight().completion, signal);
    }
  }

  /**
   * Takes note of a generation that a watcher has and this process does not: it was lost with the store. Where it is ahead of
   * the clock (which was set back), the current token is numbered above it: the watcher takes no lower generation. Never rejects.
   */
  async raiseGenerationAbove(generation: number): Promise<void> {
    await this.#coordinator.sync();
    await this.#refresher.current?.completion.catch(() => undefined); // renumbered meanwhile, it would have to be made again
    const aheadMs = generation - this.#deps.clock.now();
    if (this.#closed || generation <= this.#record.generation || aheadMs < 0 || aheadMs > FARTHEST_GENERATION_MS)
      return;
    const next = generation + this.#coordinator.generationStep();
    const raise = { type: 'raise_generation', above: generation, to: next } as const;
    await this.#coordinator.store(raise).catch(() => undefined); // the watcher asks again when it comes again
    this.#publish();
  }

  /** ForceRefresh in the proto: compare-and-refresh; or, with nothing rejected, a refresh without asking. */
  force(rejected: Rejected | undefined, signal: AbortSignal | undefined): Promise<ForceResult> {
    return this.#force.run(rejected, signal);
  }

  /**
   * Begins nothing more and fails those who wait with `reason`. Resolves when no refresh is left: one in progress is ended
   * (`abort`) or awaited, so that what WeChat has minted is not lost.
   */
  async close(reason: LingpaiError, inProgress: 'abort' | 'await'): Promise<void> {
    this.#closed ??= reason;
    this.#timer?.cancel();
    this.#force.wake();
    this.#published.wake();
    if (inProgress === 'abort') this.#refresher.current?.abort(reason);
    await this.#refresher.current?.completion.catch(() => undefined);
    this.#coordinator.release();
  }

  /** A caller needs the token now: a call that was delayed only to spread the load is made now. */
  #want(): void {
    if (this.#closed) throw this.#closed;
    if (!this.#hasGood()) {
      this.#startAt = Number.NEGATIVE_INFINITY;
      this.#wanted = true;
    }
    this.tick();
  }

  /** The refresh to join; without one, throws the failure after which the keeper pauses. */
  #inFlight(): Refresh {
    if (this.#refresher.current) return this.#refresher.current;
    const { health } = this.#tokenHealth;
    if (health.kind === 'failing') throw callersError(health.error, this.#app.appId, health.retryAt - this.#now());
    throw new LingpaiError('no refresh is planned', { reason: 'INTERNAL', appId: this.#app.appId });
  }

  /** What is reported of the current token. */
  get #suspicion(): Suspicion | undefined {
    return this.#tokenHealth.suspicion(this.#record.generation);
  }

  /** Whether there is a usable token that WeChat accepts, as far as anyone knows. */
  #hasGood(): boolean {
    return this.#tokenHealth.trust === 'trusted' && this.peek() !== undefined;
  }

  #plan(now: number): Plan {
    const { health, trust, doubt } = this.#tokenHealth;
    const facts = { record: this.#record, health, trust, doubt, isSwitched: this.#isSwitched };
    const confirmationDueAt = this.#coordinator.confirmationDueAt(this.#record);
    const lookAt = this.#suspicion?.lookAt ?? Infinity;
    const trialAt = this.#trial?.at ?? Infinity;
    const { issuer } = this.#app;
    return planNext({ ...facts, issuer, confirmationDueAt, lookAt, trialAt, startAt: this.#startAt }, now);
  }

  /** How much later than planned this replica does it; more than 0 where it is another replica's turn. */
  #standbyDelayMs({ step }: Plan): number {
    // No other replica knows what was reported or changed here.
    if (this.#isUrgent || step === 'look' || step === 'try_secret') return 0;
    return this.#wanted && this.#tokenHealth.health.kind === 'well'
      ? 0
      : this.#coordinator.standbyDelayMs(this.#record);
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    const { current, previous } = this.#record;
    const ends = [current, previous].map((token) => (token && token.expiresAt > now ? token.expiresAt : Infinity));
    const plan = this.#plan(now);
    const mine = this.#refresher.current ? [] : [plan.at + this.#standbyDelayMs(plan), this.#probeAt];
    const next = Math.min(...ends, ...mine);
    if (next < Infinity) this.#timer = this.#deps.clock.schedule(next - now, () => this.#wake());
  }

  /** A timer may be the first to notice that the machine has slept. */
  #wake(): void {
    this.#catchUp();
    this.tick();
  }

  /** Takes a record into use that this replica or another has stored. */
  #take(record: AppRecord): void {
    this.#catchUp(); // the machine may have slept meanwhile, and what is asked for now is younger
    const before = this.#record;
    this.#record = record;
    if (record.shared) this.#takeShared(before, record, record.shared);
  }

  #learn(shared: SharedPart): void {
    this.#tokenHealth.learn(shared, this.#timeline, this.#deps.clock.now());
  }

  #takeShared(before: AppRecord, record: AppRecord, shared: SharedPart): void {
    const { observe, clock } = this.#deps;
    const { appId } = this.#app;
    const { generation, current } = record;
    const { pendingConfirmation, commitTime } = shared;
    // What this replica found and could not tell the others stays until there is news.
    if (generation !== before.generation || isNews(shared, before.shared)) this.#learn(shared);
    if (generation > before.generation) {
      this.#tokenHealth.replaced();
      this.#wanted = false;
      const isNew = current && !(before.current && sameToken(current, before.current));
      if (isNew && generation !== this.#coordinator.ownGeneration) {
        this.#isSwitched = false;
        const delayMs = Math.max(0, clock.now() - commitTime);
        observe({ type: 'adopted', appId, generation, tokenId: current.id, delayMs });
      }
    }
    const owed = before.shared?.pendingConfirmation ?? null;
    if (pendingConfirmation && pendingConfirmation.epoch !== owed?.epoch) {
      observe({ type: 'provisional', appId, dueInMs: Math.max(0, pendingConfirmation.time - clock.now()) });
    } else if (!pendingConfirmation && owed) observe({ type: 'confirmed', appId });
    this.#publish();
    this.#published.wake();
    this.tick();
  }

  #publish(): void {
    this.#published.offer(this.#view(this.#now()));
  }

  #view(now: number): TokenState {
    const facts = {
      appId: this.#app.appId,
      record: this.#record,
      health: this.#tokenHealth.health,
      trust: this.#tokenHealth.trust,
      storeFailing: this.#coordinator.failing,
      isSealed: this.#coordinator.isSealed,
      suspicion: this.#suspicion?.words ?? '',
      secretFault: this.#tokenHealth.secretFault,
      warnings: [this.#tokenHealth.warning, this.#tokenHealth.blindness, this.#isOtherwise() ? OTHER_ISSUER : ''],
      nextRefreshAt: this.#plan(now).at,
    };
    return viewOf(facts, now, this.#timeline);
  }

  /** Whether another replica took the token from the issuer that is not configured here. */
  #isOtherwise(): boolean {
    return this.#record.issuer !== this.#app.issuer && !this.#isSwitched;
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
