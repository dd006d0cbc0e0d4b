import { callersError, LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { AppRecord, CurrentToken } from './app-record.ts';
import { nextAttemptAt } from './backoff.ts';
import { Calls } from './calls.ts';
import type { Coordinator } from './coordinator.ts';
import type { RefreshCause } from './events.ts';
import { type Call, type Issued, renew, replaceDead, replaceLive } from './issuing.ts';
import { type MintCall, STABLE_FORCE_SPACING_MS } from './minting.ts';
import { type Plan, retryAtLatest } from './plan.ts';
import type { App, Deps, IssuerKind, Settings } from './ports.ts';
import { Superseded } from './record-change.ts';
import type { Refresh, RefreshResult } from './refresh.ts';
import { OPINION_HOLDS_MS, type TokenHealth } from './token-health.ts';

/** The keeper, as its flights see it. */
export interface RefreshOwner {
  app(): App;
  read(): AppRecord;
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
export class Refresher {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinator: Coordinator;
  readonly #tokenHealth: TokenHealth;
  readonly #owner: RefreshOwner;
  readonly #calls: Calls;
  #refresh: Refresh | undefined;
  /** The generation with which the flight began. */
  #base = 0;

  constructor(options: {
    deps: Deps;
    settings: Settings;
    timeline: Timeline;
    coordinator: Coordinator;
    tokenHealth: TokenHealth;
    owner: RefreshOwner;
  }) {
    const { deps, settings, timeline, coordinator, owner } = options;
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#coordinator = coordinator;
    this.#tokenHealth = options.tokenHealth;
    this.#owner = owner;
    this.#calls = new Calls(deps, settings, timeline, coordinator, () => owner.read());
  }

  /** The one in progress. */
  get current(): Refresh | undefined {
    return this.#refresh;
  }

  /** Does what is due. */
  carryOut(step: Plan['step']): void {
    const { current } = this.#owner.read();
    const { issuer } = this.#owner.app();
    if (step === 'replace_dead' && current) {
      this.#fly('canary', async (call) =>
        this.#commit('canary', issuer, await replaceDead(issuer, current.value, call), current.value),
      );
    } else if (step === 'confirm' && this.#tokenHealth.doubt) {
      const { value } = this.#tokenHealth.doubt;
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
    const doubt = this.#tokenHealth.doubt;
    if (accepted && doubt && this.#timeline.leaptMs === leaptMs) {
      await this.#coordinator.change(this.#tokenHealth.redeem(doubt, this.#owner.read().generation));
      this.#owner.publish();
      return true;
    }
    if (!accepted) this.#tokenHealth.doubt = null;
    return false;
  }

  async #verdict(current: CurrentToken, cause: 'report' | 'canary', signal: AbortSignal): Promise<Word> {
    const { generation } = this.#owner.read();
    const isOrderKnown = this.#coordinator.confirmationDueAt(this.#owner.read()) === Number.POSITIVE_INFINITY;
    const { appId } = this.#owner.app();
    const observe = (verdict: Word) => {
      this.#deps.observe({ type: 'probed', appId, tokenId: current.id, cause, verdict });
      return verdict;
    };
    try {
      const verdict = await this.#calls.probe(current.value, signal);
      this.#owner.catchUp(); // a token whose life has ended meanwhile is none to have an opinion of
      if (verdict.accepted) {
        this.#tokenHealth.ask(generation, this.#now());
        return observe('accepted');
      }
      if (this.#owner.read().generation !== generation) return observe('rejected');
      const isOutside = this.#tokenHealth.refuse(verdict.errcode, isOrderKnown);
      if (isOutside) this.#deps.observe({ type: 'outside_mint', appId, tokenId: current.id });
      this.#coordinator.tellDead(generation, this.#tokenHealth.warning);
      this.#owner.publish();
      return observe('rejected');
    } catch (error) {
      if (signal.aborted || !(error instanceof UpstreamError)) throw error;
      this.#tokenHealth.ask(generation, this.#now(), callersError(error, appId, OPINION_HOLDS_MS));
      return observe('unknown');
    }
  }

  /** Takes an answer into use: stored first, then published. `refused` is a value that it must not have. */
  async #commit(cause: RefreshCause, issuer: IssuerKind, issued: Issued, refused?: string): Promise<RefreshResult> {
    if (issued.value === refused) {
      throw new UpstreamError('WeChat answered with the very token that was to be replaced', {
        reason: 'UPSTREAM_ERROR',
        recovery: { kind: 'pause', ms: STABLE_FORCE_SPACING_MS },
        effect: 'refused',
      });
    }
    const late = await this.#look(issued);
    if (late.isOutlived) {
      await this.#coordinator.end(issued.intent, issuer === 'classic' ? 'classic' : 'stable_force', 'outlived');
      this.#calls.settled();
      return 'superseded';
    }
    const { clock, random } = this.#deps;
    const { result, generation } = await this.#coordinator.land({
      issued: { ...issued, seenEpoch: late.seenEpoch },
      base: this.#base,
      issuer,
      trusted: this.#tokenHealth.trust === 'trusted',
      wallNow: clock.now(),
      draw: random(),
    });
    const storedAfterMs = this.#coordinator.failing ? null : clock.monotonic() - issued.answeredAt;
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
    this.#tokenHealth.landed(result === 'rotated' ? cause : undefined);
    const { appId } = this.#owner.app();
    const durationMs = Math.max(0, issued.answeredAt + this.#timeline.leaptMs - issued.sentAt);
    if (result === 'rotated') {
      const tokenId = issued.id;
      this.#deps.observe({ type: 'rotated', appId, generation, tokenId, cause, durationMs, storedAfterMs });
    } else this.#deps.observe({ type: 'unchanged', appId, cause, durationMs });
    this.#owner.publish();
    return result;
  }

  /** What others did while the process was stopped. `isOutlived`: they made more than one token, and WeChat refuses this one. */
  async #look({ intent, sentAt, value }: Issued): Promise<{ isOutlived: boolean; seenEpoch?: number | undefined }> {
    if (!intent || this.#now() - sentAt <= this.#settings.timeoutMs) return { isOutlived: false };
    const isSure = await this.#coordinator.sync();
    const { generation, shared } = this.#owner.read();
    const seenEpoch = isSure ? shared?.epoch : undefined;
    if (generation === this.#base) return { isOutlived: false, seenEpoch };
    const verdict = await this.#calls.probe(value, new AbortController().signal).catch(() => undefined);
    return { isOutlived: verdict?.accepted === false, seenEpoch };
  }

  #fly(cause: RefreshCause, run: (call: Call, signal: AbortSignal) => Promise<RefreshResult>): void {
    const controller = new AbortController();
    const completion = this.#run(cause, run, controller.signal);
    completion.catch(() => undefined); // it may be that nobody joined
    this.#refresh = { cause, completion, abort: (reason) => controller.abort(reason) };
  }

  async #run(
    cause: RefreshCause,
    run: (call: Call, signal: AbortSignal) => Promise<RefreshResult>,
    signal: AbortSignal,
  ): Promise<RefreshResult> {
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
      this.#refresh = undefined;
      if (this.#timeline.wallOf(0) < setBack) void this.#coordinator.change({ type: 'rewrite' });
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
    const failures = this.#tokenHealth.failures + 1;
    const { quotaResetHour, stablePollMs } = this.#settings;
    const planned = nextAttemptAt(known, { now, startedAt, failures, random, wallNow: clock.now(), quotaResetHour });
    const facts = { record: this.#owner.read(), trust: this.#tokenHealth.trust, issuer: app.issuer };
    const retryAt = app === this.#owner.app() ? retryAtLatest(facts, known, planned, now, stablePollMs) : now;
    if (owed && this.#tokenHealth.fail(known, retryAt, now)) {
      this.#coordinator.tellTrouble(this.#base, known, failures, retryAt);
    }
    const { health } = this.#tokenHealth;
    const retryInMs = owed && health.kind === 'failing' ? health.retryAt - now : null;
    observe({ type: 'refresh_failed', appId: app.appId, cause, durationMs: now - startedAt, error: known, retryInMs });
    return callersError(known, app.appId, retryAt - now);
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
