import { UpstreamError } from './errors.ts';
import type { RefreshCause } from './events.ts';
import { withDeadline } from './flight.ts';
import type { Issued } from './issuing.ts';
import type { Kept } from './kept.ts';
import { type MintCall, type MintWish, mintRefusal } from './minting.ts';
import type { App, Deps, Intent, Settings, TokenCall, Verdict } from './ports.ts';
import type { Tenure } from './tenure.ts';
import type { Timeline } from './timeline.ts';

/** One app's calls to WeChat: each under its own deadline, each mint authorized and recorded before it is made. */
export class Calls {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #tenure: Tenure;
  readonly #read: () => Kept;
  /** A mint whose token is not in use, nor known not to be. */
  #open: { readonly intent: Intent; readonly call: MintCall } | undefined;

  constructor(deps: Deps, settings: Settings, timeline: Timeline, tenure: Tenure, read: () => Kept) {
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#tenure = tenure;
    this.#read = read;
  }

  /** Throws COOLDOWN or BUDGET_EXHAUSTED when such a mint may not be made now, nor is one under way that it could join. */
  authorize(app: App, call: MintCall, cause: RefreshCause): void {
    const kept = this.#read();
    if (this.#tenure.isBusy(kept)) return;
    const refusal = mintRefusal(kept, this.#wish(app, call, cause), this.#settings);
    if (refusal) throw refusal;
  }

  /**
   * Asks a token endpoint, for a flight that began with generation `base`. Rejects with UpstreamError, with LingpaiError
   * where the mint may not be made now, and with Superseded where it need not be.
   */
  async issue(app: App, call: TokenCall, cause: RefreshCause, base: number, flight: AbortSignal): Promise<Issued> {
    const { clock, wechat } = this.#deps;
    const mint = call === 'stable' ? undefined : this.#wish(app, call, cause);
    const intent = mint && (await this.#begin(mint, base, flight));
    const sentAt = this.#timeline.elapsed();
    try {
      const fetch = (signal: AbortSignal) => wechat.fetchToken(app, call, signal);
      const grant = await withDeadline(clock, this.#settings.timeoutMs, flight, fetch);
      return { ...grant, sentAt, answeredAt: clock.monotonic(), mintedAt: mint && sentAt, intent };
    } catch (error) {
      const isUndone = error instanceof UpstreamError && error.effect !== 'unknown';
      if (mint) await this.#end(intent, mint.call, isUndone ? 'undone' : 'lost');
      throw error;
    }
  }

  /** The token of the last mint is in use, or has been found to be too late. */
  settled(): void {
    this.#open = undefined;
  }

  /** The flight is over: a mint that has not settled is lost. */
  async over(): Promise<void> {
    if (this.#open) await this.#end(this.#open.intent, this.#open.call, 'lost');
  }

  #wish({ appId }: App, call: MintCall, cause: RefreshCause): MintWish {
    return { appId, call, cause, now: this.#timeline.elapsed(), wallNow: this.#deps.clock.now() };
  }

  async #begin(mint: MintWish, base: number, flight: AbortSignal): Promise<Intent | undefined> {
    const intent = await this.#tenure.begin(mint, base, flight);
    if (intent) this.#open = { intent, call: mint.call };
    return intent;
  }

  async #end(intent: Intent | undefined, call: MintCall, how: 'undone' | 'lost'): Promise<void> {
    this.#open = undefined;
    await this.#tenure.end(intent, call, how);
  }

  /** Asks WeChat whether it accepts a token. Rejects with UpstreamError. */
  probe(token: string, flight: AbortSignal): Promise<Verdict> {
    const { clock, wechat } = this.#deps;
    return withDeadline(clock, this.#settings.timeoutMs, flight, (signal) => wechat.probe(token, signal));
  }
}
