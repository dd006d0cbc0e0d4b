import { UpstreamError } from './errors.ts';
import type { RefreshCause } from './events.ts';
import { withDeadline } from './flight.ts';
import type { Issued } from './issuing.ts';
import type { Kept } from './kept.ts';
import { type MintCall, type MintWish, mintBegun, mintRefusal, mintUndone } from './minting.ts';
import type { App, Deps, Settings, TokenCall, Verdict } from './ports.ts';
import type { Timeline } from './timeline.ts';

/** One app's calls to WeChat: each under its own deadline, each mint authorized and recorded before it is made. */
export class Calls {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #kept: { read(): Kept; write(kept: Kept): Promise<void> };

  constructor(
    deps: Deps,
    settings: Settings,
    timeline: Timeline,
    kept: { read(): Kept; write(kept: Kept): Promise<void> },
  ) {
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#kept = kept;
  }

  /** Throws COOLDOWN or BUDGET_EXHAUSTED when such a mint may not be made now. */
  authorize(app: App, call: MintCall, cause: RefreshCause): MintWish {
    const wish = { appId: app.appId, call, cause, now: this.#timeline.elapsed(), wallNow: this.#deps.clock.now() };
    const refusal = mintRefusal(this.#kept.read(), wish, this.#settings);
    if (refusal) throw refusal;
    return wish;
  }

  /** Asks a token endpoint. Rejects with UpstreamError, or with LingpaiError where the mint may not be made now. */
  async issue(app: App, call: TokenCall, cause: RefreshCause, flight: AbortSignal): Promise<Issued> {
    const { clock, wechat } = this.#deps;
    const mint = call === 'stable' ? undefined : this.authorize(app, call, cause);
    if (mint) await this.#kept.write(mintBegun(this.#kept.read(), mint, this.#settings));
    const sentAt = this.#timeline.elapsed();
    try {
      const fetch = (signal: AbortSignal) => wechat.fetchToken(app, call, signal);
      const grant = await withDeadline(clock, this.#settings.timeoutMs, flight, fetch);
      return { ...grant, sentAt, answeredAt: clock.monotonic(), mintedAt: mint && sentAt };
    } catch (error) {
      const undone = mint && error instanceof UpstreamError && error.effect !== 'unknown';
      if (undone) await this.#kept.write(mintUndone(this.#kept.read(), mint.call));
      throw error;
    }
  }

  /** Asks WeChat whether it accepts a token. Rejects with UpstreamError. */
  probe(token: string, flight: AbortSignal): Promise<Verdict> {
    const { clock, wechat } = this.#deps;
    return withDeadline(clock, this.#settings.timeoutMs, flight, (signal) => wechat.probe(token, signal));
  }
}
