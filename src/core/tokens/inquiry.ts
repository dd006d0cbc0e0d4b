import { UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { CurrentToken } from './app-record.ts';
import type { Calls } from './calls.ts';
import type { Coordinator } from './coordinator.ts';
import { ISSUERS } from './issuers.ts';
import type { Deps, Settings, Verdict } from './ports.ts';
import type { Probe, RefreshOwner, RefreshParts } from './refresh.ts';
import type { Suspicion } from './suspicion.ts';
import type { TokenHealth } from './token-health.ts';

/** A reported token is not looked at again sooner, whatever the configuration says. */
const LEAST_PAUSE_MS = 1_000;

/** WeChat's word on a token; `unknown`: it did not say. */
export type Word = 'accepted' | 'rejected' | 'unknown';

/** Finds out whether WeChat accepts an app's token: from WeChat, or from reports where WeChat does not say. */
export class Inquiry {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinator: Coordinator;
  readonly #tokenHealth: TokenHealth;
  readonly #owner: RefreshOwner;
  readonly #calls: Calls;
  readonly #onProbe: (probe: Probe) => void;
  #probes = 0;

  /** `onProbe` is told of each probe of the current token as it begins. */
  constructor(parts: RefreshParts, calls: Calls, onProbe: (probe: Probe) => void) {
    this.#deps = parts.deps;
    this.#settings = parts.settings;
    this.#timeline = parts.timeline;
    this.#coordinator = parts.coordinator;
    this.#tokenHealth = parts.tokenHealth;
    this.#owner = parts.owner;
    this.#calls = calls;
    this.#onProbe = onProbe;
  }

  /** How many probes were begun. */
  get probes(): number {
    return this.#probes;
  }

  /** What is reported of the current token. */
  get suspicion(): Suspicion | undefined {
    return this.#tokenHealth.suspicion(this.#owner.read().generation);
  }

  /** Whether WeChat accepts a token whose life may be over. If so, the life that the clock took from it is restored. */
  async confirmed(value: string, signal: AbortSignal): Promise<boolean> {
    const { leaptMs } = this.#timeline;
    let accepted = false;
    try {
      accepted = (await this.#probe(value, this.#owner.read().generation, signal)).accepted;
    } catch (error) {
      if (signal.aborted || !(error instanceof UpstreamError)) throw error;
      this.#noteUnanswered(error);
      // Callers have no token meanwhile: where nobody will say for a while whether it lives, it is over.
      if (error.recovery.kind === 'backoff' && this.#tokenHealth.blindness === '') throw error;
    }
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

  /** WeChat's word on the current token. The token's health changes by it. */
  async verdict(current: CurrentToken, cause: 'report' | 'probe', signal: AbortSignal): Promise<Word> {
    const { generation } = this.#owner.read();
    const isOrderKnown = this.#coordinator.confirmationDueAt(this.#owner.read()) === Number.POSITIVE_INFINITY;
    const { appId } = this.#owner.app();
    const observe = (verdict: Word) => {
      this.#deps.observe({ type: 'probed', appId, tokenId: current.id, cause, verdict });
      return verdict;
    };
    try {
      const verdict = await this.#probe(current.value, generation, signal);
      this.#owner.catchUp(); // a token whose life has ended meanwhile is none to have an opinion of
      if (verdict.accepted) {
        this.#tokenHealth.accepted(generation);
        this.#owner.publish();
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
      this.#noteUnanswered(error);
      this.#suspect(generation, error);
      this.#owner.publish();
      return observe('unknown');
    }
  }

  #noteUnanswered(error: UpstreamError): void {
    const { appId } = this.#owner.app();
    if (this.#tokenHealth.unanswered()) this.#deps.observe({ type: 'probes_unanswered', appId, error });
  }

  /** WeChat did not say whether it accepts a token that is reported: it is asked again later. */
  #suspect(generation: number, error: UpstreamError): void {
    const suspicion = this.#tokenHealth.suspicion(generation);
    if (!suspicion) return;
    if (!suspicion.error) this.lookAgain(suspicion);
    suspicion.error = error;
  }

  #probe(token: string, generation: number, signal: AbortSignal): Promise<Verdict> {
    this.#onProbe({ number: ++this.#probes, generation });
    return this.#calls.probe(token, signal);
  }

  /** Whether reports of the token are believed, now that WeChat has not said whether it accepts it. */
  believes(): boolean {
    const suspicion = this.suspicion;
    if (!suspicion) return false;
    const { cooldownMs } = this.#settings;
    const { isReadable } = ISSUERS[this.#owner.app().issuer];
    // What callers say is no reason to force a stable token: it can be read.
    suspicion.isBelieved = isReadable ? suspicion.isSeen : suspicion.isEnough(this.#now(), cooldownMs);
    if (suspicion.isBelieved) this.#owner.publish();
    return suspicion.isBelieved;
  }

  /** Plans the next look. A classic token is looked at no later than the cooldown after the first report: it is replaced then. */
  lookAgain(suspicion: Suspicion): void {
    const now = this.#now();
    const { stablePollMs, cooldownMs } = this.#settings;
    const { isReadable } = ISSUERS[this.#owner.app().issuer];
    const pauseMs = isReadable ? stablePollMs : Math.min(stablePollMs, suspicion.since + cooldownMs - now);
    suspicion.lookAt = now + Math.max(LEAST_PAUSE_MS, pauseMs);
  }

  #now(): number {
    return this.#timeline.elapsed();
  }
}
