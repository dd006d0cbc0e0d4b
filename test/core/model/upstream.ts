import { UpstreamError } from '../../../src/core/kernel/errors.ts';
import type { App, Grant, TokenCall, Verdict, WeChat } from '../../../src/core/tokens/ports.ts';
import type { World } from '../../support/world.ts';
import type { Findings } from './findings.ts';
import type { Pauses } from './pauses.ts';
import type { Spending } from './spending.ts';
import { Traffic } from './traffic.ts';
import type { Truth } from './truth.ts';

/** WeChat's port, watched. */
export class Upstream {
  readonly #truth: Truth;
  readonly #spending: Spending;
  readonly #pauses: Pauses;
  readonly #world: World;
  readonly #findings: Findings;
  readonly #traffic = new Map<string, Traffic>();
  /** When the last probe began by which WeChat accepts a token, in monotonic time, by value. */
  readonly accepted = new Map<string, number>();
  /** The app that next meets, at a stable read in a grace, a replica of WeChat that lags behind. */
  lagging: string | undefined;

  constructor(options: { world: World; truth: Truth; spending: Spending; pauses: Pauses; findings: Findings }) {
    this.#world = options.world;
    this.#truth = options.truth;
    this.#spending = options.spending;
    this.#pauses = options.pauses;
    this.#findings = options.findings;
  }

  /** One app's calls. */
  of(appId: string): Traffic {
    const traffic = this.#traffic.get(appId) ?? new Traffic(this.#world, this.#findings, appId);
    this.#traffic.set(appId, traffic);
    return traffic;
  }

  /** All calls that were begun. */
  get total(): number {
    return [...this.#traffic.values()].reduce((sum, traffic) => sum + traffic.count(), 0);
  }

  /** The process died, and its calls with it. */
  died(): void {
    for (const traffic of this.#traffic.values()) traffic.died();
  }

  check(): void {
    for (const traffic of this.#traffic.values()) traffic.check();
  }

  async fetchToken(wechat: WeChat, app: App, kind: TokenCall, signal: AbortSignal): Promise<Grant> {
    // A call that is aborted before it begins is none.
    if (signal.aborted) return await wechat.fetchToken(app, kind, signal);
    const { appId } = app;
    const { forwardMs } = this.#truth;
    const call = this.of(appId).begin(kind, signal);
    this.#spending.begin(appId, kind);
    this.#pauses.asked(appId);
    try {
      if (this.of(appId).storm) return await new Promise<never>(() => undefined);
      const grant = this.#stale(appId, kind) ?? (await wechat.fetchToken(app, kind, signal));
      this.#spending.answered(appId, grant.value);
      this.#truth.issued(appId, grant.value, grant.id, forwardMs);
      return grant;
    } catch (error) {
      const effect = error instanceof UpstreamError ? error.effect : 'unknown';
      if (effect !== 'unknown') this.#spending.refund(appId, kind);
      // A read that was lost near a token's end may have told of its successor, which is the next mint's predecessor.
      else if (kind === 'stable') this.#truth.disturb(appId, 'stable');
      throw error;
    } finally {
      this.of(appId).end(call);
    }
  }

  async probe(wechat: WeChat, token: string, signal: AbortSignal): Promise<Verdict> {
    if (signal.aborted) return await wechat.probe(token, signal);
    const appId = this.#truth.fact(token)?.appId ?? '';
    this.#findings.law('only tokens that WeChat issued are probed', appId !== '', () => 'an unknown one');
    const { asleepMs } = this.#truth;
    const begunAt = this.#world.clock.monotonic();
    const call = this.of(appId).begin('probe', signal);
    try {
      if (this.of(appId).storm) return await new Promise<never>(() => undefined);
      const verdict = await wechat.probe(token, signal);
      if (verdict.accepted) {
        this.accepted.set(token, begunAt);
        if (asleepMs === this.#truth.asleepMs) this.#truth.accepted(token);
      }
      return verdict;
    } finally {
      this.of(appId).end(call);
    }
  }

  /** What a replica of WeChat that lags behind answers to a read: the token that the broker shows as previous. */
  #stale(appId: string, kind: TokenCall): Grant | undefined {
    if (this.lagging !== appId || kind !== 'stable') return undefined;
    const state = this.#world.broker.states().find((each) => each.appId === appId);
    const grant = state?.previous ? this.#truth.grant(state.previous.value) : undefined;
    if (grant) this.lagging = undefined;
    return grant;
  }
}
