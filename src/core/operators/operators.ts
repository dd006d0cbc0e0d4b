import { withDeadline } from '../kernel/abortable.ts';
import type { Clock } from '../kernel/clock.ts';
import { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { App, Verdict } from '../tokens/ports.ts';
import type { TokenState } from '../tokens/state.ts';
import type { CallQuota, KnownRequest, OperatorApi } from './ports.ts';

/** Where tokens come from, and what waits for quotas: a Registry. */
export interface OperatedTokens {
  /** The app as it is configured now. Throws APP_NOT_FOUND. */
  app(appId: string): App;
  get(appId: string, options: { readonly signal: () => AbortSignal }): TokenState | Promise<TokenState>;
  forceRefresh(
    appId: string,
    rejected: { readonly kind: 'token'; readonly token: string },
    signal: AbortSignal,
  ): Promise<{ readonly state: TokenState }>;
}

/** What operators' calls need of the world. */
export interface OperatorsDeps {
  readonly clock: Clock;
  readonly api: OperatorApi;
  readonly tokens: OperatedTokens;
  readonly probe: (token: string, signal: AbortSignal) => Promise<Verdict>;
  /** The deadline of one call to WeChat, in milliseconds. */
  readonly timeoutMs: number;
  /** Told that an app's quotas were cleared: what waits for them may be tried. */
  readonly onCleared: (appId: string) => void;
}

/** How an app's quotas were cleared. */
export interface Cleared {
  /** What WeChat said. */
  readonly errmsg: string;
  /** By the AppSecret. */
  readonly bySecret: boolean;
}

/** When to come back where nothing says how long it takes. */
const SOON_MS = 1_000;

/**
 * What operators ask WeChat by way of the broker. A token that WeChat refuses is reported, and the call made once more with the
 * one that replaced it. All reject with LingpaiError, or with the reason of `signal`.
 */
export class Operators {
  readonly #deps: OperatorsDeps;

  constructor(deps: OperatorsDeps) {
    this.#deps = deps;
  }

  /** How often a call may be made today, and was. */
  quota(appId: string, cgiPath: string, signal: AbortSignal): Promise<CallQuota> {
    const { api, tokens } = this.#deps;
    return this.#answered(
      appId,
      signal,
      this.#byToken(appId, signal, (token, limit) => api.quota(tokens.app(appId), cgiPath, token, limit)),
    );
  }

  /** What WeChat knows of a call that failed. */
  request(appId: string, rid: string, signal: AbortSignal): Promise<KnownRequest> {
    const { api, tokens } = this.#deps;
    const call = (token: string, limit: AbortSignal) => api.request(tokens.app(appId), rid, token, limit);
    return this.#answered(appId, signal, this.#byToken(appId, signal, call));
  }

  /** Clears the app's quotas: by its token, or where a spent quota is in the way of that, by its secret. */
  async clearQuota(appId: string, signal: AbortSignal): Promise<Cleared> {
    const cleared = await this.#answered(appId, signal, this.#clear(appId, signal));
    this.#deps.onCleared(appId);
    return cleared;
  }

  /** Whether WeChat accepts a token. */
  probe(appId: string, token: string, signal: AbortSignal): Promise<Verdict> {
    const { probe, tokens } = this.#deps;
    const call = async () => {
      tokens.app(appId);
      return await this.#within(signal, (limit) => probe(token, limit));
    };
    return this.#answered(appId, signal, call());
  }

  async #clear(appId: string, signal: AbortSignal): Promise<Cleared> {
    const { api, tokens } = this.#deps;
    try {
      const { errmsg } = await this.#byToken(appId, signal, (token, limit) =>
        api.clearQuota(tokens.app(appId), token, limit),
      );
      return { errmsg, bySecret: false };
    } catch (error) {
      if (!isQuotaInTheWay(error)) throw error;
    }
    const { errmsg } = await this.#within(signal, (limit) => api.clearQuotaBySecret(tokens.app(appId), limit));
    return { errmsg, bySecret: true };
  }

  async #byToken<T>(
    appId: string,
    signal: AbortSignal,
    call: (token: string, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { tokens } = this.#deps;
    const { current } = await tokens.get(appId, { signal: () => signal });
    const token = current?.value ?? '';
    try {
      return await this.#within(signal, (limit) => call(token, limit));
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.reason !== 'TOKEN_REFUSED') throw error;
      const { state } = await tokens.forceRefresh(appId, { kind: 'token', token }, signal);
      const newer = state.current?.value ?? '';
      if (newer === token) throw error;
      return await this.#within(signal, (limit) => call(newer, limit));
    }
  }

  #within<T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#deps;
    return withDeadline(clock, timeoutMs, signal, call);
  }

  async #answered<T>(appId: string, signal: AbortSignal, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof UpstreamError ? told(error, appId) : error;
    }
  }
}

/** Whether the day's quota of token calls, or of the call itself, is spent. */
function isQuotaInTheWay(error: unknown): boolean {
  return (error instanceof UpstreamError || error instanceof LingpaiError) && error.reason === 'DAILY_QUOTA_EXHAUSTED';
}

/** A failure as the caller is told of it. */
function told({ message, reason, answer, recovery }: UpstreamError, appId: string): LingpaiError {
  const retryAfterMs = recovery.kind === 'pause' ? recovery.ms : recovery.kind === 'never' ? undefined : SOON_MS;
  const violations = reason === 'CGI_PATH_INVALID' ? [{ field: 'cgi_path', description: message }] : [];
  return new LingpaiError(message, { reason, appId, answer, retryAfterMs, violations });
}
