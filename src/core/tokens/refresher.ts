import { UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { CurrentToken } from './app-record.ts';
import { Calls } from './calls.ts';
import type { Coordinator } from './coordinator.ts';
import type { RefreshCause } from './events.ts';
import { Inquiry } from './inquiry.ts';
import { ISSUERS, isForced, isMint, type MintCall, SECRET_TRIAL, STABLE_FORCE_SPACING_MS } from './issuers.ts';
import { type Call, type Issued, renew, replaceDead, replaceLive } from './issuing.ts';
import type { Plan } from './plan.ts';
import type { Deps, IssuerKind, Settings, TokenCall } from './ports.ts';
import { Superseded } from './record-change.ts';
import type { Refresh, RefreshOwner, RefreshParts, RefreshResult } from './refresh.ts';
import { RefreshFailures } from './refresh-failures.ts';
import type { TokenHealth } from './token-health.ts';

/** Refreshes one app, one refresh at a time: asks WeChat, and takes its answer into use. */
export class Refresher {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinator: Coordinator;
  readonly #tokenHealth: TokenHealth;
  readonly #owner: RefreshOwner;
  readonly #calls: Calls;
  readonly #inquiry: Inquiry;
  readonly #failures: RefreshFailures;
  #refresh: Refresh | undefined;
  /** The generation with which the refresh began. */
  #base = 0;

  constructor(parts: RefreshParts) {
    const { deps, settings, timeline, coordinator, owner } = parts;
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#coordinator = coordinator;
    this.#tokenHealth = parts.tokenHealth;
    this.#owner = owner;
    this.#calls = new Calls(deps, settings, timeline, coordinator, () => owner.read());
    this.#inquiry = new Inquiry(parts, this.#calls, (probe) => {
      if (this.#refresh) this.#refresh.probe = probe;
    });
    this.#failures = new RefreshFailures(parts);
  }

  /** The one in progress. */
  get current(): Refresh | undefined {
    return this.#refresh;
  }

  /** How many probes were begun. */
  get probes(): number {
    return this.#inquiry.probes;
  }

  /** Does what is due. */
  carryOut(step: Plan['step']): void {
    const { current } = this.#owner.read();
    const { issuer } = this.#owner.app();
    if (step === 'replace_dead' && current) this.replaceDead('probe');
    else if (step === 'look') this.#look();
    else if (step === 'try_secret') this.#trySecret();
    else if (step === 'confirm' && this.#tokenHealth.doubt) {
      const { value } = this.#tokenHealth.doubt;
      this.#start('scheduled', async (call, signal) => {
        if (await this.#inquiry.confirmed(value, signal)) return 'accepted';
        return this.#commit('scheduled', issuer, await renew(issuer, call), value);
      });
    } else {
      this.#start('scheduled', async (call) => this.#commit('scheduled', issuer, await renew(issuer, call)));
    }
  }

  /** Asks WeChat whether it accepts the current token, and replaces the token if not. */
  ask(cause: 'report' | 'probe'): void {
    const { current } = this.#owner.read();
    if (current) this.#start(cause, (call, signal) => this.#askAbout(current, cause, call, signal));
  }

  async #askAbout(
    current: CurrentToken,
    cause: 'report' | 'probe',
    call: Call,
    signal: AbortSignal,
  ): Promise<RefreshResult> {
    const { issuer } = this.#owner.app();
    const verdict = await this.#inquiry.verdict(current, cause, signal);
    if (verdict === 'accepted') return verdict;
    if (verdict === 'unknown' && !this.#inquiry.believes()) return await this.#readOn(cause, call);
    return await this.#commit(cause, issuer, await replaceDead(issuer, current.value, call), current.value);
  }

  /** Replaces a current token that WeChat is known to refuse. A stable one is read first, and forced where it must be. */
  replaceDead(cause: RefreshCause): void {
    const { current } = this.#owner.read();
    const { issuer } = this.#owner.app();
    if (!current) return;
    this.#start(cause, async (call) =>
      this.#commit(cause, issuer, await replaceDead(issuer, current.value, call), current.value),
    );
  }

  /**
   * Finds out more of a token that is reported, by asking about it. Where WeChat has not said for a while whether it accepts it,
   * a stable one is only read, and the regular probe asks.
   */
  #look(): void {
    const { issuer } = this.#owner.app();
    const suspicion = this.#inquiry.suspicion;
    if (suspicion) this.#inquiry.lookAgain(suspicion);
    if (!ISSUERS[issuer].isReadable || this.#tokenHealth.blindness === '') this.ask('report');
    else
      this.#start('report', async (call, signal) => {
        const wasAway = this.#tokenHealth.isReadFailing;
        const completion = await this.#commit('report', issuer, await renew(issuer, call));
        const { current } = this.#owner.read();
        // WeChat is there again, and may say what it did not.
        return wasAway && completion === 'unchanged' && current
          ? await this.#askAbout(current, 'report', call, signal)
          : completion;
      });
  }

  /** A read of the stable endpoint tells whether a secret is right, and touches no classic token. */
  #trySecret(): void {
    this.#start('scheduled', async (call, signal) => {
      // What came of it has been told: it says nothing of the token.
      await call(SECRET_TRIAL).catch((error: unknown) => {
        if (signal.aborted || !(error instanceof UpstreamError)) throw error;
      });
      return 'tried';
    });
  }

  /** Reads a stable token that is reported, unless the last read was refused and would be again. */
  async #readOn(cause: RefreshCause, call: Call): Promise<RefreshResult> {
    const { issuer } = this.#owner.app();
    const isReported = this.#inquiry.suspicion !== undefined;
    // A regular probe reads nothing: what is reported is read at its own times.
    const isDone = cause === 'probe' || !this.#tokenHealth.isReadable(this.#now());
    if (!ISSUERS[issuer].isReadable || !isReported || isDone) return 'unknown';
    const completion = await this.#commit(cause, issuer, await renew(issuer, call));
    return completion === 'unchanged' ? 'unknown' : completion;
  }

  /** Throws COOLDOWN or BUDGET_EXHAUSTED when an operator may not have such a mint made now. */
  authorize(call: MintCall): void {
    this.#calls.authorize(this.#owner.app(), call, 'operator');
  }

  /** Replaces the token without asking about it. `live`: its value, where there is one. */
  replace(live: string | undefined): void {
    const { issuer } = this.#owner.app();
    this.#start('operator', async (call) => {
      const issued = await (live === undefined ? renew(issuer, call) : replaceLive(issuer, live, call));
      return this.#commit('operator', issuer, issued, live);
    });
  }

  /** Takes an answer into use: stores it, then publishes it. `refused` is a value that it must not have. */
  async #commit(cause: RefreshCause, issuer: IssuerKind, issued: Issued, refused?: string): Promise<RefreshResult> {
    if (issued.value === refused) {
      throw new UpstreamError('WeChat answered with the very token that was to be replaced', {
        reason: 'UPSTREAM_ERROR',
        recovery: { kind: 'pause', ms: STABLE_FORCE_SPACING_MS },
        effect: 'refused',
      });
    }
    const late = await this.#lookBack(issued);
    if (late.isOutlived) {
      await this.#coordinator.end(issued.intent, ISSUERS[issuer].replacement, 'outlived');
      this.#calls.concluded();
      return 'superseded';
    }
    const { clock, random } = this.#deps;
    const trusted = this.#tokenHealth.trust === 'trusted';
    const isQuiet = trusted && cause === 'scheduled';
    const { result, generation } = await this.#coordinator.land({
      issued: { ...issued, seenEpoch: late.seenEpoch },
      base: this.#base,
      issuer,
      trusted,
      isQuiet,
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
    this.#calls.concluded();
    // WeChat has just been asked in vain, whatever is still due.
    if (result === 'unchanged') this.#owner.pause(this.#settings.stablePollMs);
    this.#tokenHealth.landed(result === 'rotated' ? { isQuiet } : undefined);
    const { appId } = this.#owner.app();
    const durationMs = Math.max(0, issued.answeredAt + this.#timeline.leaptMs - issued.sentAt);
    if (result === 'rotated') {
      const tokenId = issued.id;
      this.#deps.observe({ type: 'rotated', appId, generation, tokenId, cause, durationMs, storedAfterMs });
    } else this.#deps.observe({ type: 'unchanged', appId, cause, durationMs });
    this.#owner.publish();
    return result;
  }

  /** Looks at what other replicas did while this process was stopped. `isOutlived`: WeChat refuses the token that it minted. */
  async #lookBack({ intent, sentAt, value }: Issued): Promise<{ isOutlived: boolean; seenEpoch?: number | undefined }> {
    if (!intent || this.#now() - sentAt <= this.#settings.timeoutMs) return { isOutlived: false };
    const isSure = await this.#coordinator.sync();
    const { generation, shared } = this.#owner.read();
    const seenEpoch = isSure ? shared?.epoch : undefined;
    if (generation === this.#base) return { isOutlived: false, seenEpoch };
    const verdict = await this.#calls.probe(value, new AbortController().signal).catch(() => undefined);
    return { isOutlived: verdict?.accepted === false, seenEpoch };
  }

  #start(cause: RefreshCause, run: (call: Call, signal: AbortSignal) => Promise<RefreshResult>): void {
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
    await undefined; // so that `#refresh` is set before the end below clears it
    const app = this.#owner.app();
    const startedAt = this.#now();
    const setBack = this.#timeline.wallOf(0);
    this.#base = this.#owner.read().generation;
    let asked: TokenCall | undefined;
    const call: Call = async (kind) => {
      asked = kind;
      // An operator may have cleared a quota, and tries.
      const isShut = isForced(kind) && cause !== 'operator';
      const refusal = isShut ? this.#tokenHealth.forceRefusal(this.#now()) : undefined;
      if (refusal) throw refusal;
      try {
        const issued = await this.#calls.issue(app, kind, cause, this.#base, signal);
        this.#owner.tried(app, kind);
        if (!isMint(kind)) this.#tokenHealth.wasRead();
        asked = undefined;
        return issued;
      } catch (error) {
        this.#owner.tried(app, kind, error);
        throw error;
      }
    };
    try {
      return await run(call, signal);
    } catch (error) {
      if (error instanceof Superseded) return 'superseded';
      // Another replica has done meanwhile what failed here.
      if (this.#owner.read().generation !== this.#base && this.#owner.hasGood()) return 'superseded';
      throw signal.aborted
        ? signal.reason
        : this.#failures.take(error, { cause, app, base: this.#base, startedAt, asked });
    } finally {
      await this.#calls.over();
      this.#refresh = undefined;
      if (this.#timeline.wallOf(0) < setBack) void this.#coordinator.change({ type: 'rewrite' });
      this.#owner.landed();
    }
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
