import { abortable } from '../kernel/abortable.ts';
import type { Timer } from '../kernel/clock.ts';
import { Condition } from '../kernel/condition.ts';
import { callersError, LingpaiError } from '../kernel/errors.ts';
import { RateLimiter } from '../kernel/rate-limiter.ts';
import { ISSUERS } from './issuers.ts';
import { cooldownRefusal } from './minting.ts';
import type { IssuerKind } from './ports.ts';
import type { Refresh, RefreshParts } from './refresh.ts';
import type { Refresher } from './refresher.ts';
import { isKnown, isOld, type Rejected } from './rejected.ts';
import type { ForceOutcome, TokenState } from './state.ts';
import type { Suspicion } from './suspicion.ts';
import type { Trust } from './view.ts';

/** The answer to a ForceRefresh. */
export interface ForceResult {
  readonly state: TokenState;
  readonly outcome: ForceOutcome;
}

/** What decides how a ForceRefresh is met while no refresh is in progress. */
export interface ForceFacts {
  /** Whether the caller reports a token; else it wants a new one. */
  readonly isReport: boolean;
  /** Whether there is a token whose life is not over. */
  readonly isUsable: boolean;
  readonly issuer: IssuerKind;
  readonly trust: Trust;
  /** WeChat did not say whether it accepts a token that is reported. */
  readonly isSuspected: boolean;
  /** Whether a read may bring anything now. */
  readonly isReadWorthwhile: boolean;
}

/**
 * `ask`: WeChat is asked about the token. `read`: the stable endpoint is read, which costs nothing, and forced where that brings
 * the dead token. `mint`: a new token, without asking. `join`: nothing is begun; what is planned is waited for.
 */
export type ForceStep = 'ask' | 'read' | 'mint' | 'join';

/** How a ForceRefresh is met. A classic token that is dead, or a read that was refused, is replaced as planned and no sooner. */
export function forceStep({ isReport, isUsable, issuer, trust, isSuspected, isReadWorthwhile }: ForceFacts): ForceStep {
  const { isReadable } = ISSUERS[issuer];
  if (!isReport) return isUsable && isReadable && (trust === 'dead' || isSuspected) ? 'read' : 'mint';
  if (!isUsable) return 'join';
  if (trust === 'trusted') return 'ask';
  return isReadable && isReadWorthwhile ? 'read' : 'join';
}

/** The keeper, as a ForceRefresh sees it. */
export interface ForceTarget {
  /** The newest published state. */
  state(): TokenState;
  /** The state if it has a usable token. */
  peek(): TokenState | undefined;
  /** A caller needs a token now. Throws when the keeper is closed. */
  want(): void;
  /** The refresh to join. Without one, throws the failure after which the keeper pauses. */
  inFlight(): Refresh;
}

/** How often callers may have WeChat asked about one app: five times at once, then every 2 s. Mints have a budget besides. */
const ASKING = { everyMs: 2_000, earlyMs: 8_000 };
/** How soon a caller is told to ask again that had no verdict. */
const ASK_AGAIN_MS = 1_000;

/** ForceRefresh of one app: compare-and-refresh, or with nothing rejected a refresh without asking. */
export class Force {
  readonly #parts: RefreshParts;
  readonly #refresher: Refresher;
  readonly #target: ForceTarget;
  readonly #limiter = new RateLimiter(ASKING);
  /** Those who wait until WeChat may be asked: they look again together. */
  readonly #turn = new Condition();
  #turnTimer: Timer | undefined;

  constructor(parts: RefreshParts, refresher: Refresher, target: ForceTarget) {
    this.#parts = parts;
    this.#refresher = refresher;
    this.#target = target;
  }

  /** ForceRefresh in the proto. */
  async run(rejected: Rejected | undefined, signal: AbortSignal | undefined): Promise<ForceResult> {
    const { coordinator, tokenHealth, owner } = this.#parts;
    const target = this.#target;
    const came = this.#refresher.probes;
    let told: Suspicion | undefined;
    let word: 'accepted' | 'unknown' | undefined;
    // What is not known here may come from another replica.
    const isSure = !rejected || isKnown(rejected, target.state()) || (await abortable(coordinator.sync(), signal));
    for (;;) {
      const state = target.state();
      if (rejected && target.peek()) {
        if (isOld(rejected, state, isSure)) return { state, outcome: 'ALREADY_NEWER' };
        if (word === 'accepted' && tokenHealth.trust === 'trusted') return { state, outcome: 'STILL_VALID' };
        const isReported = rejected.witness !== 'nobody';
        const unsaid =
          word === 'unknown' ? (this.#unsaid() ?? (isReported ? undefined : this.#unanswered())) : undefined;
        if (unsaid) throw unsaid;
        if (isReported && (!told || told !== this.#suspicion))
          told = tokenHealth.report(owner.read().generation, rejected, this.#now());
      }
      const before = this.#refresher.current;
      target.want();
      const isUsable = target.peek() !== undefined;
      const step = this.#refresher.current ? 'join' : this.#step(rejected !== undefined, isUsable);
      // Mints have a cooldown and a budget; what costs none has this bound alone.
      const waitMs = step === 'ask' || step === 'read' ? this.#limiter.take(this.#now()) : 0;
      if (waitMs > 0) {
        await this.#nextTurn(waitMs, signal);
        continue;
      }
      if (step === 'ask') this.#refresher.ask('report');
      if (step === 'read') this.#refresher.replaceDead(rejected ? 'report' : 'operator');
      if (step === 'mint') this.#mint(isUsable);
      const refresh = target.inFlight();
      const completion = await abortable(refresh.completion, signal);
      const { probe } = refresh;
      const isAnswer = probe && probe.number > came && probe.generation === owner.read().generation;
      word = isAnswer && (completion === 'accepted' || completion === 'unknown') ? completion : undefined;
      if (completion === 'superseded' && target.peek()) return { state: target.state(), outcome: 'JOINED' };
      if (completion === 'rotated' && target.peek())
        return { state: target.state(), outcome: refresh === before ? 'JOINED' : 'REFRESHED' };
    }
  }

  /** Has all who wait for their turn look again. */
  wake(): void {
    this.#turnTimer?.cancel();
    this.#turnTimer = undefined;
    this.#turn.notifyAll();
  }

  #nextTurn(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    this.#turnTimer ??= this.#parts.deps.clock.schedule(waitMs, () => this.wake());
    return this.#turn.wait(signal);
  }

  #step(isReport: boolean, isUsable: boolean): ForceStep {
    const { owner, tokenHealth } = this.#parts;
    const { issuer } = owner.app();
    const isReadWorthwhile = tokenHealth.isReadable(this.#now());
    const isSuspected = this.#suspicion?.error !== undefined;
    return forceStep({ isReport, isUsable, issuer, trust: tokenHealth.trust, isSuspected, isReadWorthwhile });
  }

  /** Has a new token minted. Throws COOLDOWN or BUDGET_EXHAUSTED when none may be made now. */
  #mint(isUsable: boolean): void {
    const { owner, coordinator, settings } = this.#parts;
    const { appId, issuer } = owner.app();
    const { isReadable, replacement } = ISSUERS[issuer];
    if (isUsable || !isReadable) {
      this.#refresher.authorize(replacement);
    } else {
      const refusal = cooldownRefusal(owner.read(), appId, this.#now(), settings.cooldownMs);
      if (refusal) throw refusal;
      void coordinator.change({ type: 'start_cooldown' });
    }
    this.#refresher.replace(isUsable ? owner.read().current?.value : undefined);
  }

  /** What a caller is told whose report WeChat has not answered. */
  #unsaid(): LingpaiError | undefined {
    const suspicion = this.#suspicion;
    if (!suspicion?.error) return undefined;
    const retryAfterMs = Math.max(ASK_AGAIN_MS, suspicion.lookAt - this.#now());
    return callersError(suspicion.error, this.#parts.owner.app().appId, retryAfterMs);
  }

  /** What one is told who asked whether the token is good, where WeChat did not say. */
  #unanswered(): LingpaiError {
    const { appId } = this.#parts.owner.app();
    const message = 'WeChat did not say whether it accepts the token';
    return new LingpaiError(message, { reason: 'UPSTREAM_ERROR', appId, retryAfterMs: ASK_AGAIN_MS });
  }

  /** What is reported of the current token. */
  get #suspicion(): Suspicion | undefined {
    return this.#parts.tokenHealth.suspicion(this.#parts.owner.read().generation);
  }

  #now(): number {
    return this.#parts.timeline.elapsed();
  }
}
