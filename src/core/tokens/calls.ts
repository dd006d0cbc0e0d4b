import { withDeadline } from '../kernel/abortable.ts';
import { UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { AppRecord } from './app-record.ts';
import type { Coordinator } from './coordinator.ts';
import type { RefreshCause } from './events.ts';
import { isMint, type MintCall } from './issuers.ts';
import type { Issued } from './issuing.ts';
import { type MintWish, mintRefusal } from './minting.ts';
import type { App, Deps, Intent, Settings, TokenCall, Verdict } from './ports.ts';

/** One app's calls to WeChat. Each has its own deadline; a mint is authorized and recorded before it is made. */
export class Calls {
  readonly #deps: Deps;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #coordinator: Coordinator;
  readonly #read: () => AppRecord;
  /** A mint that WeChat was asked for and that is not concluded. */
  #open: { readonly intent: Intent; readonly call: MintCall } | undefined;

  constructor(deps: Deps, settings: Settings, timeline: Timeline, coordinator: Coordinator, read: () => AppRecord) {
    this.#deps = deps;
    this.#settings = settings;
    this.#timeline = timeline;
    this.#coordinator = coordinator;
    this.#read = read;
  }

  /** Throws COOLDOWN or BUDGET_EXHAUSTED when such a mint may not be made now, nor is one under way that it could join. */
  authorize(app: App, call: MintCall, cause: RefreshCause): void {
    const record = this.#read();
    if (this.#coordinator.isBusy(record)) return;
    const refusal = mintRefusal(record, this.#wish(app, call, cause), this.#settings);
    if (refusal) throw refusal;
  }

  /**
   * Asks a token endpoint, for a refresh that began with generation `base`. Rejects with UpstreamError, with LingpaiError
   * where the mint may not be made now, and with Superseded where it need not be.
   */
  async issue(app: App, call: TokenCall, cause: RefreshCause, base: number, refresh: AbortSignal): Promise<Issued> {
    const { clock, wechat } = this.#deps;
    const mint = isMint(call) ? this.#wish(app, call, cause) : undefined;
    const intent = mint && (await this.#begin(mint, base, refresh));
    const sentAt = this.#timeline.elapsed();
    try {
      const fetch = (signal: AbortSignal) => wechat.fetchToken(app, call, signal);
      const grant = await withDeadline(clock, this.#settings.timeoutMs, refresh, fetch);
      return { ...grant, sentAt, answeredAt: clock.monotonic(), mintedAt: mint && sentAt, intent };
    } catch (error) {
      const isUndone = error instanceof UpstreamError && error.effect !== 'unknown';
      if (mint) await this.#end(intent, mint.call, isUndone ? 'undone' : 'lost');
      throw error;
    }
  }

  /** The token of the last mint is in use, or has been found to be too late. */
  concluded(): void {
    this.#open = undefined;
  }

  /** The refresh is over: of a mint that is not concluded nobody knows whether WeChat made it. */
  async over(): Promise<void> {
    if (this.#open) await this.#end(this.#open.intent, this.#open.call, 'lost');
  }

  #wish({ appId }: App, call: MintCall, cause: RefreshCause): MintWish {
    return { appId, call, cause, now: this.#timeline.elapsed(), wallNow: this.#deps.clock.now() };
  }

  async #begin(mint: MintWish, base: number, refresh: AbortSignal): Promise<Intent | undefined> {
    const intent = await this.#coordinator.begin(mint, base, refresh);
    if (intent) this.#open = { intent, call: mint.call };
    return intent;
  }

  async #end(intent: Intent | undefined, call: MintCall, how: 'undone' | 'lost'): Promise<void> {
    this.#open = undefined;
    await this.#coordinator.end(intent, call, how);
  }

  /** Asks WeChat whether it accepts a token. Rejects with UpstreamError. */
  probe(token: string, refresh: AbortSignal): Promise<Verdict> {
    const { clock, wechat } = this.#deps;
    return withDeadline(clock, this.#settings.timeoutMs, refresh, (signal) => wechat.probe(token, signal));
  }
}
