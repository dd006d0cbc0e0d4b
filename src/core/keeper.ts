import { nextAttemptAt } from './backoff.ts';
import { Calls } from './calls.ts';
import type { Timer } from './clock.ts';
import { LingpaiError, UpstreamError } from './errors.ts';
import type { RefreshCause } from './events.ts';
import { type Flight, join, type Landing } from './flight.ts';
import { type Call, type Issued, renew, replaceDead, replaceLive } from './issuing.ts';
import { fromStored, type Held, type Kept, nothingKept, spared, toStored } from './kept.ts';
import { cooldownRefusal, STABLE_FORCE_SPACING_MS } from './minting.ts';
import { type Plan, planNext, retryAtLatest } from './plan.ts';
import type { App, Deps, IssuerKind, Settings, SharedPart, StoredApp } from './ports.ts';
import { dueAt, type Life } from './schedule.ts';
import { OPINION_HOLDS_MS, Standing } from './standing.ts';
import type { ForceOutcome, TokenState } from './state.ts';
import { type Change, type CommitResult, type Holder, Superseded, type Tenure } from './tenure.ts';
import type { Timeline } from './timeline.ts';
import { sameView, viewOf } from './view.ts';

/** The token that a caller says WeChat refused. */
export type Rejected =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'generation'; readonly generation: number };

/** The answer to a ForceRefresh. */
export interface ForceResult {
  readonly state: TokenState;
  readonly outcome: ForceOutcome;
}

/** WeChat's word for a token whose own time is over, rather than one that was replaced. */
const EXPIRED_ERRCODE = 42001;
/** Every so many probes of another replica this one makes one too: it may be the other that cannot reach WeChat. */
const PROBES_OF_OTHERS = 4;
/** A generation is a wall time or follows one: none is farther ahead, unless somebody made it up. */
const FARTHEST_GENERATION_MS = 24 * 3_600_000;
const OUTSIDE_MINT =
  'WeChat refused a token before its time and nobody here had replaced it: most likely another program mints with the same AppSecret';

/** Owns one app's token: one flight at a time, one timer, and the state that callers see. */
export class Keeper {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #tenure: Tenure;
  readonly #calls: Calls;
  readonly #catchUp: () => void;
  readonly #onState: (state: TokenState) => void;
  readonly #waiting = new Set<() => void>();
  #app: App;
  #kept: Kept;
  readonly #standing = new Standing();
  #flight: Flight | undefined;
  /** The generation with which the flight began. */
  #base = 0;
  /** The last generation that this process brought. */
  #ownGeneration = 0;
  /** What is due is not begun before this (see Situation). */
  #startAt: number;
  /** A caller waits for a token: another replica's turn is not waited for. */
  #wanted = false;
  #probeAt: number;
  /** Probes that another replica was to make. */
  #probesLeftOut = 0;
  #timer: Timer | undefined;
  #closed: LingpaiError | undefined;
  #state: TokenState;

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
    this.#onState = options.onState;
    this.#catchUp = catchUp;
    this.#kept = nothingKept(app.issuer);
    this.#tenure = options.tenure({
      read: () => this.#kept,
      take: (kept) => this.#take(kept),
      onChange: () => this.#publish(),
    });
    this.#calls = new Calls(deps, settings, timeline, this.#tenure, () => this.#kept);
    const now = this.#now();
    this.#kept = stored
      ? fromStored(stored, now, timeline, (life) => dueAt(life, stored.issuer, settings, deps.random()))
      : (this.#tenure.known() ?? this.#kept);
    if (this.#kept.shared) this.#learn(this.#kept.shared);
    this.#startAt = now + options.startDelayMs;
    this.#probeAt = settings.probeIntervalMs > 0 ? now + deps.random() * settings.probeIntervalMs : Infinity;
    this.#state = this.#view(now);
  }

  /** The newest published state; the same object until something changes. */
  get state(): TokenState {
    return this.#state;
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
    const usable = current !== null && current.expiresAt > this.#now() && this.#state.current !== null;
    return usable && this.#state.generation >= minGeneration ? this.#state : undefined;
  }

  /** Does what is due. To be called at the start and whenever a timer may have been lost; harmless at any time. */
  tick(): void {
    if (this.#closed) return;
    this.#publish();
    const now = this.#now();
    const plan = this.#plan(now);
    if (!this.#flight && now >= plan.at + this.#patienceMs()) this.#startPlanned(plan.step);
    if (!this.#flight && now >= this.#probeAt) {
      this.#probeAt = now + this.#settings.probeIntervalMs;
      const isMine = this.#tenure.patienceMs(this.#kept) === 0 || ++this.#probesLeftOut % PROBES_OF_OTHERS === 0;
      if (isMine && this.#hasGood() && this.#standing.health.kind === 'well') this.#startVerdict('canary');
    }
    this.#arm(now);
  }

  /** Takes a changed secret or issuer into use, at once where the old one was failing. */
  update(app: App): void {
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
    if (byMs < 0 && !this.#flight) void this.#change((kept) => kept, 'may');
    this.tick();
  }

  /** A state with a usable token of at least this generation: waits for the refresh, or for the generation. */
  async obtain(minGeneration: number, signal: AbortSignal | undefined): Promise<TokenState> {
    for (;;) {
      const state = this.peek(minGeneration);
      if (state) return state;
      this.#want();
      if (this.peek()) await this.#nextState(signal);
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
    await this.#flight?.landing.catch(() => undefined); // renumbered meanwhile, it would have to be made again
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
    if (rejected && !this.#isKnown(rejected)) await join(this.#tenure.sync(), signal);
    for (;;) {
      if (rejected && this.peek()) {
        if (this.#isOld(rejected)) return { state: this.#state, outcome: 'ALREADY_NEWER' };
        if (this.#standing.isAccepted(this.#kept.generation, this.#now()))
          return { state: this.#state, outcome: 'STILL_VALID' };
      }
      const before = this.#flight;
      this.#want();
      const usable = this.peek() !== undefined;
      if (!this.#flight && !rejected) this.#startOperator(usable);
      if (!this.#flight && usable && this.#standing.trust === 'trusted') this.#startVerdict('report');
      const flight = this.#inFlight();
      const landing = await join(flight.landing, signal);
      if (landing === 'superseded' && this.peek()) return { state: this.#state, outcome: 'JOINED' };
      if (landing === 'rotated' && this.peek()) {
        return { state: this.#state, outcome: flight === before ? 'JOINED' : 'REFRESHED' };
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
    this.#notify();
    if (inProgress === 'abort') this.#flight?.abort(reason);
    await this.#flight?.landing.catch(() => undefined);
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
    if (this.#flight) return this.#flight;
    const { health } = this.#standing;
    if (health.kind === 'failing') throw this.#asCallersSee(health.error, health.retryAt);
    throw new LingpaiError('no refresh is planned', { reason: 'INTERNAL', appId: this.#app.appId });
  }

  /** Whether there is a usable token that WeChat accepts, as far as anyone knows. */
  #hasGood(): boolean {
    return this.#standing.trust === 'trusted' && this.peek() !== undefined;
  }

  #isKnown(rejected: Rejected): boolean {
    const { generation, current, previous } = this.#state;
    if (rejected.kind === 'generation') return rejected.generation <= generation;
    return rejected.token === current?.value || rejected.token === previous?.value;
  }

  #isOld(rejected: Rejected): boolean {
    const { generation, current } = this.#state;
    if (rejected.kind === 'token') return rejected.token !== current?.value;
    if (rejected.generation > generation) {
      const description = `must not be above ${generation}, the newest generation`;
      throw new LingpaiError('rejected_generation was never published', {
        reason: 'INVALID_REQUEST',
        appId: this.#app.appId,
        violations: [{ field: 'rejected_generation', description }],
      });
    }
    return rejected.generation < generation;
  }

  #plan(now: number): Plan {
    const { health, trust, doubt } = this.#standing;
    const facts = { kept: this.#kept, health, trust, doubt };
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
    const mine = this.#flight ? [] : [this.#plan(now).at + this.#patienceMs(), this.#probeAt];
    const next = Math.min(...ends, ...mine);
    if (next < Infinity) this.#timer = this.#deps.clock.schedule(next - now, () => this.#wake());
  }

  /** A timer may be the first to notice that the machine has slept. */
  #wake(): void {
    this.#catchUp();
    this.tick();
  }

  #startPlanned(step: Plan['step']): void {
    const { current } = this.#kept;
    const { issuer } = this.#app;
    if (step === 'replace_dead' && current) {
      this.#fly('canary', async (call) =>
        this.#commit('canary', issuer, await replaceDead(issuer, current.value, call), current.value),
      );
    } else if (step === 'confirm' && this.#standing.doubt) {
      const { value } = this.#standing.doubt;
      this.#fly('scheduled', async (call, signal) => {
        if (await this.#confirmed(value, signal)) return 'accepted';
        return this.#commit('scheduled', issuer, await renew(issuer, call), value);
      });
    } else {
      this.#fly('scheduled', async (call) => this.#commit('scheduled', issuer, await renew(issuer, call)));
    }
  }

  /** Whether WeChat accepts a token whose life may be over; if so it has back what the clock took. */
  async #confirmed(value: string, signal: AbortSignal): Promise<boolean> {
    const { leaptMs } = this.#timeline;
    const { accepted } = await this.#calls.probe(value, signal);
    this.#catchUp();
    const doubt = this.#standing.doubt;
    if (accepted && doubt && this.#timeline.leaptMs === leaptMs) {
      await this.#change(this.#standing.redeem(doubt, this.#kept.generation), 'may');
      this.#publish();
      return true;
    }
    if (!accepted) this.#standing.doubt = null;
    return false;
  }

  #startOperator(usable: boolean): void {
    const { issuer } = this.#app;
    if (usable || issuer === 'classic') {
      this.#calls.authorize(this.#app, issuer === 'classic' ? 'classic' : 'stable_force', 'operator');
    } else {
      const now = this.#now();
      const refusal = cooldownRefusal(this.#kept, this.#app.appId, now, this.#settings.cooldownMs);
      if (refusal) throw refusal;
      this.#kept = { ...this.#kept, lastForcedAt: now };
    }
    const held = usable ? this.#kept.current?.value : undefined;
    this.#fly('operator', async (call) => {
      const issued = await (held === undefined ? renew(issuer, call) : replaceLive(issuer, held, call));
      return this.#commit('operator', issuer, issued, held);
    });
  }

  /** Asks WeChat whether it accepts the current token, and replaces it when not. */
  #startVerdict(cause: 'report' | 'canary'): void {
    const { current } = this.#kept;
    const { issuer } = this.#app;
    if (!current) return;
    this.#fly(cause, async (call, signal) => {
      const verdict = await this.#verdict(current, cause, signal);
      if (verdict !== 'rejected') return verdict;
      return this.#commit(cause, issuer, await replaceDead(issuer, current.value, call), current.value);
    });
  }

  async #verdict(
    current: Held,
    cause: 'report' | 'canary',
    signal: AbortSignal,
  ): Promise<'accepted' | 'rejected' | 'unknown'> {
    const { generation } = this.#kept;
    const isOrderKnown = this.#tenure.owedAt(this.#kept) === Number.POSITIVE_INFINITY;
    const { appId } = this.#app;
    const observe = (verdict: 'accepted' | 'rejected' | 'unknown') => {
      this.#deps.observe({ type: 'probed', appId, tokenId: current.id, cause, verdict });
      return verdict;
    };
    try {
      const verdict = await this.#calls.probe(current.value, signal);
      this.#catchUp(); // a token whose life has ended meanwhile is none to have an opinion of
      if (verdict.accepted) {
        this.#standing.ask(generation, this.#now());
        return observe('accepted');
      }
      if (this.#kept.generation !== generation) return observe('rejected');
      this.#standing.trust = 'dead';
      if (verdict.errcode !== EXPIRED_ERRCODE && isOrderKnown) {
        this.#standing.warning = OUTSIDE_MINT;
        this.#deps.observe({ type: 'outside_mint', appId, tokenId: current.id });
      }
      this.#tenure.tellDead(generation, this.#standing.warning);
      this.#publish();
      return observe('rejected');
    } catch (error) {
      if (signal.aborted || !(error instanceof UpstreamError)) throw error;
      const now = this.#now();
      this.#standing.ask(generation, now, this.#asCallersSee(error, now + OPINION_HOLDS_MS));
      return observe('unknown');
    }
  }

  /** Takes an answer into use: stored first, then published. `refused` is a value that it must not have. */
  async #commit(cause: RefreshCause, issuer: IssuerKind, issued: Issued, refused?: string): Promise<Landing> {
    const base = this.#base;
    if (issued.value === refused) {
      throw new UpstreamError('WeChat answered with the very token that was to be replaced', {
        reason: 'UPSTREAM_ERROR',
        recovery: { kind: 'pause', ms: STABLE_FORCE_SPACING_MS },
        effect: 'refused',
      });
    }
    if (await this.#isOutlived(issued)) {
      await this.#tenure.end(issued.intent, issuer === 'classic' ? 'classic' : 'stable_force', 'outlived');
      this.#calls.settled();
      return 'superseded';
    }
    const { clock, random } = this.#deps;
    const trusted = this.#standing.trust === 'trusted';
    let wallNow = clock.now();
    const generationStep = this.#tenure.generationStep();
    const outcome: { result: CommitResult | 'older' } = { result: 'unchanged' };
    await this.#change((kept) => {
      const now = this.#now();
      const due = (life: Life) => dueAt(life, issuer, this.#settings, random());
      const { overlapMs } = this.#settings;
      const context = { issuer, trusted, now, wallNow, generationStep, overlapMs, due };
      const landed = this.#tenure.commit(kept, issued, context, base);
      const { current } = landed.kept;
      const isUsable = current !== null && current.expiresAt > now && trusted;
      // A change that is made again finds what it did the first time.
      const isDone = outcome.result === 'rotated' && kept.generation === this.#ownGeneration;
      if (!isDone) outcome.result = landed.result;
      if (landed.result === 'unchanged' && !isUsable && kept.generation === base) {
        outcome.result = 'older';
        return kept;
      }
      if (landed.result === 'rotated') {
        wallNow = Math.max(wallNow, landed.kept.generation); // once published, a generation stays
        this.#ownGeneration = landed.kept.generation;
      }
      return landed.kept;
    }, 'may');
    const storedAfterMs = this.#tenure.failing ? null : clock.monotonic() - issued.answeredAt;
    const { result } = outcome;
    if (result === 'older') {
      throw new UpstreamError('WeChat answered with a token that is older than the last', {
        reason: 'UPSTREAM_ERROR',
        recovery: { kind: 'backoff' },
        effect: 'refused',
      });
    }
    this.#calls.settled();
    const rotated = result === 'rotated';
    // Whatever is still owed, WeChat has just been asked in vain.
    if (result === 'unchanged') this.#startAt = this.#now() + this.#settings.stablePollMs;
    this.#standing.landed(rotated ? cause : undefined);
    const { appId } = this.#app;
    const durationMs = Math.max(0, issued.answeredAt - issued.sentAt);
    if (rotated) {
      const generation = this.#ownGeneration;
      const tokenId = issued.id;
      this.#deps.observe({ type: 'rotated', appId, generation, tokenId, cause, durationMs, storedAfterMs });
    } else this.#deps.observe({ type: 'unchanged', appId, cause, durationMs });
    this.#publish();
    return result;
  }

  /**
   * Whether WeChat refuses a token already whose answer reached a process that was stopped: others have refreshed the app
   * more than once meanwhile, and the order of the mints is known.
   */
  async #isOutlived({ intent, sentAt, value }: Issued): Promise<boolean> {
    if (!intent || this.#now() - sentAt <= this.#settings.timeoutMs) return false;
    await this.#tenure.sync();
    if (this.#kept.generation === this.#base) return false;
    const verdict = await this.#calls.probe(value, new AbortController().signal).catch(() => undefined);
    return verdict?.accepted === false;
  }

  #fly(cause: RefreshCause, run: (call: Call, signal: AbortSignal) => Promise<Landing>): void {
    const controller = new AbortController();
    const landing = this.#run(cause, run, controller.signal);
    landing.catch(() => undefined); // it may be that nobody joined
    this.#flight = { cause, landing, abort: (reason) => controller.abort(reason) };
  }

  async #run(
    cause: RefreshCause,
    run: (call: Call, signal: AbortSignal) => Promise<Landing>,
    signal: AbortSignal,
  ): Promise<Landing> {
    await undefined; // so that `#flight` is set before the end below clears it
    const app = this.#app;
    const startedAt = this.#now();
    const setBack = this.#timeline.wallOf(0);
    this.#base = this.#kept.generation;
    try {
      return await run((call) => this.#calls.issue(app, call, cause, this.#base, signal), signal);
    } catch (error) {
      if (error instanceof Superseded) return 'superseded';
      // What failed here has been done by another replica meanwhile.
      if (this.#kept.generation !== this.#base && this.#hasGood()) return 'superseded';
      throw signal.aborted ? signal.reason : this.#failed(error, cause, app, startedAt);
    } finally {
      await this.#calls.over();
      this.#flight = undefined;
      if (this.#timeline.wallOf(0) < setBack) void this.#change((kept) => kept, 'may');
      this.tick();
    }
  }

  /** Plans the next attempt where the keeper owes one, and returns what those who joined the flight get. */
  #failed(error: unknown, cause: RefreshCause, app: App, startedAt: number): LingpaiError {
    const { clock, observe, random } = this.#deps;
    const now = this.#now();
    const known =
      error instanceof UpstreamError || error instanceof LingpaiError
        ? error
        : new LingpaiError('the refresh failed inside the broker', { reason: 'INTERNAL', cause: error });
    // A caller that was refused for its haste has changed nothing that is planned.
    const isHaste = cause === 'operator' && known.reason === 'COOLDOWN';
    const owed = !isHaste && (cause === 'scheduled' || !this.#hasGood() || this.#kept.openMints > 0);
    const failures = this.#standing.failures + 1;
    const { quotaResetHour, stablePollMs } = this.#settings;
    const wallNow = clock.now();
    const planned = nextAttemptAt(known, { now, startedAt, failures, random, wallNow, quotaResetHour });
    const facts = { kept: this.#kept, trust: this.#standing.trust, issuer: app.issuer };
    const retryAt = app === this.#app ? retryAtLatest(facts, known, planned, now, stablePollMs) : now;
    if (owed && this.#standing.fail(known, retryAt, now)) {
      this.#tenure.tellTrouble(this.#base, known, failures, retryAt);
    }
    const { health } = this.#standing;
    const retryInMs = owed && health.kind === 'failing' ? health.retryAt - now : null;
    observe({ type: 'refresh_failed', appId: app.appId, cause, durationMs: now - startedAt, error: known, retryInMs });
    return this.#asCallersSee(known, retryAt);
  }

  #asCallersSee(error: UpstreamError | LingpaiError, retryAt: number): LingpaiError {
    const { reason, answer, message } = error;
    const retryAfterMs = Math.max(0, retryAt - this.#now());
    return new LingpaiError(message, { reason, answer, appId: this.#app.appId, retryAfterMs });
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
    this.#learn(shared);
    if (generation > before.generation) {
      this.#standing.doubt = null;
      this.#wanted = false;
      if (current && generation !== this.#ownGeneration) {
        const delayMs = Math.max(0, clock.now() - commitTime);
        observe({ type: 'adopted', appId, generation, tokenId: current.id, delayMs });
      }
    }
    const owed = before.shared?.debt ?? null;
    if (debt && debt.epoch !== owed?.epoch) {
      observe({ type: 'provisional', appId, dueInMs: Math.max(0, debt.time - clock.now()) });
    } else if (!debt && owed) observe({ type: 'confirmed', appId });
    this.#publish();
    this.#notify();
    this.tick();
  }

  /** Resolves at the next published state. */
  #nextState(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    return join(promise, signal).finally(() => this.#waiting.delete(resolve));
  }

  #publish(): void {
    const before = this.#state;
    const next = this.#view(this.#now());
    if (sameView(before, next)) {
      if (before.nextRefreshTime !== next.nextRefreshTime) this.#state = next;
      return;
    }
    this.#state = next;
    if (before.status !== next.status) {
      const { appId, status, statusReason } = next;
      this.#deps.observe({ type: 'status', appId, from: before.status, to: status, reason: statusReason });
    }
    this.#onState(next);
    this.#notify();
  }

  #notify(): void {
    for (const wake of this.#waiting) wake();
  }

  #view(now: number): TokenState {
    const facts = {
      appId: this.#app.appId,
      kept: this.#kept,
      health: this.#standing.health,
      trust: this.#standing.trust,
      storeFailing: this.#tenure.failing,
      warning: this.#standing.warning,
      nextRefreshAt: this.#plan(now).at,
    };
    return viewOf(facts, now, this.#timeline);
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
