import { nextAttemptAt } from './backoff.ts';
import { Calls } from './calls.ts';
import { callersError, LingpaiError, UpstreamError } from './errors.ts';
import type { RefreshCause } from './events.ts';
import type { Flight, Landing } from './flight.ts';
import { type Call, type Issued, renew, replaceDead, replaceLive } from './issuing.ts';
import type { Held, Kept } from './kept.ts';
import { type MintCall, STABLE_FORCE_SPACING_MS } from './minting.ts';
import { type Plan, retryAtLatest } from './plan.ts';
import type { App, Deps, IssuerKind, Settings } from './ports.ts';
import { dueAt, type Life } from './schedule.ts';
import { OPINION_HOLDS_MS, type Standing } from './standing.ts';
import { type CommitResult, Superseded, type Tenure } from './tenure.ts';
import type { Timeline } from './timeline.ts';

/** The keeper, as its flights see it. */
export interface FlightOwner {
  app(): App;
  read(): Kept;
  /** Whether there is a usable token that WeChat accepts, as far as anyone knows. */
  hasGood(): boolean;
  /** A clock may have jumped. */
  catchUp(): void;
  /** What callers see may have changed. */
  publish(): void;
  /** Nothing that is due is begun for so long. */
  pause(ms: number): void;
  /** No flight is left. */
  landed(): void;
}

type Word = 'accepted' | 'rejected' | 'unknown'; // of WeChat, or that it could not be asked

/** One app's flights, one at a time: what each asks WeChat, and what becomes of the answer. */
export class Flights {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #tenure: Tenure;
  readonly #standing: Standing;
  readonly #owner: FlightOwner;
  readonly #calls: Calls;
  #flight: Flight | undefined;
  /** The generation with which the flight began. */
  #base = 0;
  #ownGeneration = 0;

  constructor(options: {
    deps: Deps;
    settings: Settings;
    timeline: Timeline;
    tenure: Tenure;
    standing: Standing;
    owner: FlightOwner;
  }) {
    const { deps, settings, timeline, tenure, owner } = options;
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#tenure = tenure;
    this.#standing = options.standing;
    this.#owner = owner;
    this.#calls = new Calls(deps, settings, timeline, tenure, () => owner.read());
  }

  /** The one in progress. */
  get current(): Flight | undefined {
    return this.#flight;
  }

  /** The last generation that this process brought; 0: none. */
  get ownGeneration(): number {
    return this.#ownGeneration;
  }

  /** Does what is due. */
  carryOut(step: Plan['step']): void {
    const { current } = this.#owner.read();
    const { issuer } = this.#owner.app();
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

  /** Asks WeChat whether it accepts the current token, and replaces it when not. */
  ask(cause: 'report' | 'canary'): void {
    const { current } = this.#owner.read();
    const { issuer } = this.#owner.app();
    if (!current) return;
    this.#fly(cause, async (call, signal) => {
      const verdict = await this.#verdict(current, cause, signal);
      if (verdict !== 'rejected') return verdict;
      return this.#commit(cause, issuer, await replaceDead(issuer, current.value, call), current.value);
    });
  }

  /** Throws COOLDOWN or BUDGET_EXHAUSTED when an operator may not have such a mint made now. */
  authorize(call: MintCall): void {
    this.#calls.authorize(this.#owner.app(), call, 'operator');
  }

  /** Replaces the token without asking about it: `held`, if that is one. */
  replace(held: string | undefined): void {
    const { issuer } = this.#owner.app();
    this.#fly('operator', async (call) => {
      const issued = await (held === undefined ? renew(issuer, call) : replaceLive(issuer, held, call));
      return this.#commit('operator', issuer, issued, held);
    });
  }

  /** Whether WeChat accepts a token whose life may be over; if so it has back what the clock took. */
  async #confirmed(value: string, signal: AbortSignal): Promise<boolean> {
    const { leaptMs } = this.#timeline;
    const { accepted } = await this.#calls.probe(value, signal);
    this.#owner.catchUp();
    const doubt = this.#standing.doubt;
    if (accepted && doubt && this.#timeline.leaptMs === leaptMs) {
      await this.#tenure.change(this.#standing.redeem(doubt, this.#owner.read().generation), 'may');
      this.#owner.publish();
      return true;
    }
    if (!accepted) this.#standing.doubt = null;
    return false;
  }

  async #verdict(current: Held, cause: 'report' | 'canary', signal: AbortSignal): Promise<Word> {
    const { generation } = this.#owner.read();
    const isOrderKnown = this.#tenure.owedAt(this.#owner.read()) === Number.POSITIVE_INFINITY;
    const { appId } = this.#owner.app();
    const observe = (verdict: Word) => {
      this.#deps.observe({ type: 'probed', appId, tokenId: current.id, cause, verdict });
      return verdict;
    };
    try {
      const verdict = await this.#calls.probe(current.value, signal);
      this.#owner.catchUp(); // a token whose life has ended meanwhile is none to have an opinion of
      if (verdict.accepted) {
        this.#standing.ask(generation, this.#now());
        return observe('accepted');
      }
      if (this.#owner.read().generation !== generation) return observe('rejected');
      const isOutside = this.#standing.refuse(verdict.errcode, isOrderKnown);
      if (isOutside) this.#deps.observe({ type: 'outside_mint', appId, tokenId: current.id });
      this.#tenure.tellDead(generation, this.#standing.warning);
      this.#owner.publish();
      return observe('rejected');
    } catch (error) {
      if (signal.aborted || !(error instanceof UpstreamError)) throw error;
      this.#standing.ask(generation, this.#now(), callersError(error, appId, OPINION_HOLDS_MS));
      return observe('unknown');
    }
  }

  /** Takes an answer into use: stored first, then published. `refused` is a value that it must not have. */
  async #commit(cause: RefreshCause, issuer: IssuerKind, issued: Issued, refused?: string): Promise<Landing> {
    if (issued.value === refused) {
      throw new UpstreamError('WeChat answered with the very token that was to be replaced', {
        reason: 'UPSTREAM_ERROR',
        recovery: { kind: 'pause', ms: STABLE_FORCE_SPACING_MS },
        effect: 'refused',
      });
    }
    const late = await this.#look(issued);
    if (late.isOutlived) {
      await this.#tenure.end(issued.intent, issuer === 'classic' ? 'classic' : 'stable_force', 'outlived');
      this.#calls.settled();
      return 'superseded';
    }
    const { clock, random } = this.#deps;
    const trusted = this.#standing.trust === 'trusted';
    const base = this.#base; // the change may be made again during later flights
    let wallNow = clock.now();
    const generationStep = this.#tenure.generationStep();
    const outcome: { result: CommitResult | 'older' } = { result: 'unchanged' };
    await this.#tenure.change((kept) => {
      const now = this.#now();
      const due = (life: Life) => dueAt(life, issuer, this.#settings, random());
      const { overlapMs } = this.#settings;
      const context = { issuer, trusted, now, wallNow, generationStep, overlapMs, due };
      const landed = this.#tenure.commit(kept, { ...issued, seenEpoch: late.seenEpoch }, context, base);
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
    // Whatever is still owed, WeChat has just been asked in vain.
    if (result === 'unchanged') this.#owner.pause(this.#settings.stablePollMs);
    this.#standing.landed(result === 'rotated' ? cause : undefined);
    const { appId } = this.#owner.app();
    const durationMs = Math.max(0, issued.answeredAt + this.#timeline.leaptMs - issued.sentAt);
    if (result === 'rotated') {
      const [generation, tokenId] = [this.#ownGeneration, issued.id];
      this.#deps.observe({ type: 'rotated', appId, generation, tokenId, cause, durationMs, storedAfterMs });
    } else this.#deps.observe({ type: 'unchanged', appId, cause, durationMs });
    this.#owner.publish();
    return result;
  }

  /** What others did while the process was stopped. `isOutlived`: they made more than one token, and WeChat refuses this one. */
  async #look({ intent, sentAt, value }: Issued): Promise<{ isOutlived: boolean; seenEpoch?: number | undefined }> {
    if (!intent || this.#now() - sentAt <= this.#settings.timeoutMs) return { isOutlived: false };
    const isSure = await this.#tenure.sync();
    const { generation, shared } = this.#owner.read();
    const seenEpoch = isSure ? shared?.epoch : undefined;
    if (generation === this.#base) return { isOutlived: false, seenEpoch };
    const verdict = await this.#calls.probe(value, new AbortController().signal).catch(() => undefined);
    return { isOutlived: verdict?.accepted === false, seenEpoch };
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
    const app = this.#owner.app();
    const startedAt = this.#now();
    const setBack = this.#timeline.wallOf(0);
    this.#base = this.#owner.read().generation;
    try {
      return await run((call) => this.#calls.issue(app, call, cause, this.#base, signal), signal);
    } catch (error) {
      if (error instanceof Superseded) return 'superseded';
      // What failed here has been done by another replica meanwhile.
      if (this.#owner.read().generation !== this.#base && this.#owner.hasGood()) return 'superseded';
      throw signal.aborted ? signal.reason : this.#failed(error, cause, app, startedAt);
    } finally {
      await this.#calls.over();
      this.#flight = undefined;
      if (this.#timeline.wallOf(0) < setBack) void this.#tenure.change((kept) => kept, 'may');
      this.#owner.landed();
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
    const owed = !isHaste && (cause === 'scheduled' || !this.#owner.hasGood() || this.#owner.read().openMints > 0);
    const failures = this.#standing.failures + 1;
    const { quotaResetHour, stablePollMs } = this.#settings;
    const planned = nextAttemptAt(known, { now, startedAt, failures, random, wallNow: clock.now(), quotaResetHour });
    const facts = { kept: this.#owner.read(), trust: this.#standing.trust, issuer: app.issuer };
    const retryAt = app === this.#owner.app() ? retryAtLatest(facts, known, planned, now, stablePollMs) : now;
    if (owed && this.#standing.fail(known, retryAt, now)) {
      this.#tenure.tellTrouble(this.#base, known, failures, retryAt);
    }
    const { health } = this.#standing;
    const retryInMs = owed && health.kind === 'failing' ? health.retryAt - now : null;
    observe({ type: 'refresh_failed', appId: app.appId, cause, durationMs: now - startedAt, error: known, retryInMs });
    return callersError(known, app.appId, retryAt - now);
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
