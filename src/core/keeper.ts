import type { Timer } from './clock.ts';
import { callersError, LingpaiError } from './errors.ts';
import { type Flight, join } from './flight.ts';
import { type FlightOwner, Flights } from './flights.ts';
import { fromStored, type Kept, nothingKept, sameToken, spared, toStored } from './kept.ts';
import { cooldownRefusal } from './minting.ts';
import { type Plan, planNext } from './plan.ts';
import type { App, Deps, Settings, SharedPart, StoredApp } from './ports.ts';
import { Published } from './published.ts';
import { isKnown, isOld, type Rejected } from './rejected.ts';
import { dueAt } from './schedule.ts';
import { isNews, Standing } from './standing.ts';
import type { ForceOutcome, TokenState } from './state.ts';
import type { Change, Holder, Tenure } from './tenure.ts';
import type { Timeline } from './timeline.ts';
import { viewOf } from './view.ts';

/** The answer to a ForceRefresh. */
export interface ForceResult {
  readonly state: TokenState;
  readonly outcome: ForceOutcome;
}

/** Every so many probes of another replica this one makes one too: it may be the other that cannot reach WeChat. */
const PROBES_OF_OTHERS = 4;
/** A generation is a wall time or follows one: none is farther ahead, unless somebody made it up. */
const FARTHEST_GENERATION_MS = 24 * 3_600_000;

const OTHER_ISSUER =
  'another replica has another issuer for this app: give all of them the same, and until then each refreshes by its own';

/** Owns one app's token: one flight at a time, one timer, and the state that callers see. */
export class Keeper {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #tenure: Tenure;
  readonly #flights: Flights;
  readonly #catchUp: () => void;
  readonly #published: Published;
  #app: App;
  #kept: Kept;
  readonly #standing = new Standing();
  /** What is due is not begun before this (see Situation). */
  #startAt: number;
  /** See Situation. */
  #isSwitched = true;
  /** A caller waits for a token: another replica's turn is not waited for. */
  #wanted = false;
  #probeAt: number;
  /** Probes that another replica was to make. */
  #probesLeftOut = 0;
  #timer: Timer | undefined;
  #closed: LingpaiError | undefined;

  /**
   * `onState` gets each state that watchers should see. `startDelayMs` spreads the first calls of many apps. `catchUp` has
   * every keeper, this one too, take note of a clock that jumped.
   */
  constructor(options: {
    deps: Deps;
    settings: Settings;
    timeline: Timeline;
    app: App;
    /** Makes the tenure for a keeper, whose record it then keeps. */
    tenure: (holder: Holder) => Tenure;
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
    this.#kept = nothingKept(app.issuer);
    this.#tenure = options.tenure({
      read: () => this.#kept,
      take: (kept) => this.#take(kept),
      onChange: () => this.#publish(),
    });
    const owner: FlightOwner = {
      app: () => this.#app,
      read: () => this.#kept,
      hasGood: () => this.#hasGood(),
      catchUp,
      publish: () => this.#publish(),
      pause: (ms) => {
        this.#startAt = this.#now() + ms;
      },
      landed: () => this.tick(),
    };
    const parts = { deps, settings, timeline, tenure: this.#tenure, standing: this.#standing };
    this.#flights = new Flights({ ...parts, owner });
    const now = this.#now();
    this.#kept = stored
      ? fromStored(stored, now, timeline, (life) => dueAt(life, stored.issuer, settings, deps.random()))
      : (this.#tenure.known() ?? this.#kept);
    if (this.#kept.shared) this.#learn(this.#kept.shared);
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

  /** The app as it is kept now. */
  get app(): App {
    return this.#app;
  }

  /** What the store has, or will have, of the app. */
  get record(): StoredApp {
    return toStored(this.#app.appId, this.#kept, this.#timeline);
  }

  /** The state if it has a usable token of at least this generation, else undefined. */
  peek(minGeneration = 0): TokenState | undefined {
    const { current } = this.#kept;
    const usable = current !== null && current.expiresAt > this.#now() && this.state.current !== null;
    return usable && this.state.generation >= minGeneration ? this.state : undefined;
  }

  /** Does what is due. To be called at the start and whenever a timer may have been lost; harmless at any time. */
  tick(): void {
    if (this.#closed) return;
    this.#publish();
    const now = this.#now();
    const plan = this.#plan(now);
    if (!this.#flights.current && now >= plan.at + this.#patienceMs()) this.#flights.carryOut(plan.step);
    if (!this.#flights.current && now >= this.#probeAt) {
      this.#probeAt = now + this.#settings.probeIntervalMs;
      const isMine = this.#tenure.patienceMs(this.#kept) === 0 || ++this.#probesLeftOut % PROBES_OF_OTHERS === 0;
      if (isMine && this.#hasGood() && this.#standing.health.kind === 'well') this.#flights.ask('canary');
    }
    this.#arm(now);
  }

  /** Takes a changed secret or issuer into use, at once where the old one was failing. */
  update(app: App): void {
    this.#isSwitched ||= app.issuer !== this.#app.issuer;
    this.#app = app;
    this.#standing.retryNow(this.#now());
    this.tick();
  }

  /**
   * Takes note that the wall clock moved by `byMs` against monotonic time, which the timeline has adopted. More than 0 may
   * have ended a life: all ages have grown by as much. It may also be that the clock was only set.
   */
  clockJumped(byMs: number): void {
    const now = this.#now();
    const token = this.#standing.doubt ?? this.#kept.current;
    if (byMs > 0 && token && token.expiresAt <= now && token.expiresAt + byMs > now)
      this.#standing.doubt = spared(token, byMs);
    // By the wall clock that was set back, the stored times lie too far ahead.
    if (byMs < 0 && !this.#flights.current) void this.#change((kept) => kept, 'may');
    this.tick();
  }

  /** A state with a usable token of at least this generation: waits for the refresh, or for the generation. */
  async obtain(minGeneration: number, signal: AbortSignal | undefined): Promise<TokenState> {
    for (;;) {
      const state = this.peek(minGeneration);
      if (state) return state;
      this.#want();
      if (this.peek()) await this.#published.next(signal);
      else await join(this.#inFlight().landing, signal);
    }
  }

  /**
   * Takes note of a generation that a watcher has. One that is nowhere else was lost with the store; where it is ahead of
   * the clock, which was set back, what is here is numbered above it, or the watcher would be told of no token until the
   * clock is there. Never rejects.
   */
  async outnumber(generation: number): Promise<void> {
    await this.#tenure.sync();
    await this.#flights.current?.landing.catch(() => undefined); // renumbered meanwhile, it would have to be made again
    const aheadMs = generation - this.#deps.clock.now();
    if (this.#closed || generation <= this.#kept.generation || aheadMs < 0 || aheadMs > FARTHEST_GENERATION_MS) return;
    const next = generation + this.#tenure.generationStep();
    const above = (kept: Kept) => (kept.generation < generation ? { ...kept, generation: next } : kept);
    await this.#change(above, 'must').catch(() => undefined); // the watcher asks again when it comes again
    this.#publish();
  }

  /** Compare-and-refresh, or with nothing rejected a refresh without asking: ForceRefresh in the proto. */
  async force(rejected: Rejected | undefined, signal: AbortSignal | undefined): Promise<ForceResult> {
    // What is not known here may come from another replica.
    const isSure = !rejected || isKnown(rejected, this.state) || (await join(this.#tenure.sync(), signal));
    for (;;) {
      if (rejected && this.peek()) {
        if (isOld(rejected, this.state, isSure)) return { state: this.state, outcome: 'ALREADY_NEWER' };
        if (this.#standing.isAccepted(this.#kept.generation, this.#now()))
          return { state: this.state, outcome: 'STILL_VALID' };
      }
      const before = this.#flights.current;
      this.#want();
      const usable = this.peek() !== undefined;
      if (!this.#flights.current && !rejected) this.#startOperator(usable);
      if (!this.#flights.current && usable && this.#standing.trust === 'trusted') this.#flights.ask('report');
      const flight = this.#inFlight();
      const landing = await join(flight.landing, signal);
      if (landing === 'superseded' && this.peek()) return { state: this.state, outcome: 'JOINED' };
      if (landing === 'rotated' && this.peek()) {
        return { state: this.state, outcome: flight === before ? 'JOINED' : 'REFRESHED' };
      }
    }
  }

  /**
   * Begins nothing more and fails those who wait with `reason`. Resolves when no flight is left: one in progress is ended
   * (`abort`) or awaited, so that what WeChat has minted is not lost.
   */
  async close(reason: LingpaiError, inProgress: 'abort' | 'await'): Promise<void> {
    this.#closed ??= reason;
    this.#timer?.cancel();
    this.#published.wake();
    if (inProgress === 'abort') this.#flights.current?.abort(reason);
    await this.#flights.current?.landing.catch(() => undefined);
    this.#tenure.release();
  }

  /** Somebody needs the token now: what waits only to spread the load need not wait. */
  #want(): void {
    if (this.#closed) throw this.#closed;
    if (!this.#hasGood()) {
      this.#startAt = Number.NEGATIVE_INFINITY;
      this.#wanted = true;
    }
    this.tick();
  }

  /** The flight to join; without one, throws the failure after which the keeper pauses. */
  #inFlight(): Flight {
    if (this.#flights.current) return this.#flights.current;
    const { health } = this.#standing;
    if (health.kind === 'failing') throw callersError(health.error, this.#app.appId, health.retryAt - this.#now());
    throw new LingpaiError('no refresh is planned', { reason: 'INTERNAL', appId: this.#app.appId });
  }

  /** Whether there is a usable token that WeChat accepts, as far as anyone knows. */
  #hasGood(): boolean {
    return this.#standing.trust === 'trusted' && this.peek() !== undefined;
  }

  #plan(now: number): Plan {
    const { health, trust, doubt } = this.#standing;
    const facts = { kept: this.#kept, health, trust, doubt, isSwitched: this.#isSwitched };
    const owedAt = this.#tenure.owedAt(this.#kept);
    return planNext({ ...facts, issuer: this.#app.issuer, owedAt, startAt: this.#startAt }, now);
  }

  /** How much later than planned it is done, since it is another replica's turn. */
  #patienceMs(): number {
    return this.#wanted && this.#standing.health.kind === 'well' ? 0 : this.#tenure.patienceMs(this.#kept);
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    const { current, previous } = this.#kept;
    const ends = [current, previous].map((token) => (token && token.expiresAt > now ? token.expiresAt : Infinity));
    const mine = this.#flights.current ? [] : [this.#plan(now).at + this.#patienceMs(), this.#probeAt];
    const next = Math.min(...ends, ...mine);
    if (next < Infinity) this.#timer = this.#deps.clock.schedule(next - now, () => this.#wake());
  }

  /** A timer may be the first to notice that the machine has slept. */
  #wake(): void {
    this.#catchUp();
    this.tick();
  }

  #startOperator(usable: boolean): void {
    const { issuer } = this.#app;
    if (usable || issuer === 'classic') {
      this.#flights.authorize(issuer === 'classic' ? 'classic' : 'stable_force');
    } else {
      const now = this.#now();
      const refusal = cooldownRefusal(this.#kept, this.#app.appId, now, this.#settings.cooldownMs);
      if (refusal) throw refusal;
      this.#kept = { ...this.#kept, lastForcedAt: now };
    }
    this.#flights.replace(usable ? this.#kept.current?.value : undefined);
  }

  #change(change: Change, need: 'must' | 'may'): Promise<void> {
    return this.#tenure.change(change, need);
  }

  /** Takes into use what is stored, by this replica or by another. */
  #take(kept: Kept): void {
    this.#catchUp(); // the machine may have slept meanwhile, and what is asked for now is younger
    const before = this.#kept;
    this.#kept = kept;
    if (kept.shared) this.#takeShared(before, kept, kept.shared);
  }

  #learn(shared: SharedPart): void {
    this.#standing.learn(shared, this.#timeline, this.#deps.clock.now());
  }

  #takeShared(before: Kept, kept: Kept, shared: SharedPart): void {
    const { observe, clock } = this.#deps;
    const { appId } = this.#app;
    const { generation, current } = kept;
    const { debt, commitTime } = shared;
    // What was found here and could not be told stands until there is news.
    if (generation !== before.generation || isNews(shared, before.shared)) this.#learn(shared);
    if (generation > before.generation) {
      this.#standing.doubt = null;
      this.#wanted = false;
      const isNew = current && !(before.current && sameToken(current, before.current));
      if (isNew && generation !== this.#flights.ownGeneration) {
        this.#isSwitched = false;
        const delayMs = Math.max(0, clock.now() - commitTime);
        observe({ type: 'adopted', appId, generation, tokenId: current.id, delayMs });
      }
    }
    const owed = before.shared?.debt ?? null;
    if (debt && debt.epoch !== owed?.epoch) {
      observe({ type: 'provisional', appId, dueInMs: Math.max(0, debt.time - clock.now()) });
    } else if (!debt && owed) observe({ type: 'confirmed', appId });
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
      kept: this.#kept,
      health: this.#standing.health,
      trust: this.#standing.trust,
      storeFailing: this.#tenure.failing,
      warning: this.#standing.warning || (this.#isOtherwise() ? OTHER_ISSUER : ''),
      nextRefreshAt: this.#plan(now).at,
    };
    return viewOf(facts, now, this.#timeline);
  }

  /** Whether another replica took the token from where this one is not to take it. */
  #isOtherwise(): boolean {
    return this.#kept.issuer !== this.#app.issuer && !this.#isSwitched;
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
