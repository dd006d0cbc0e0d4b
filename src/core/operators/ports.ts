import type { App } from '../tokens/ports.ts';

/** How often one of WeChat's calls may be made in a day, and was. */
export interface CallQuota {
  readonly dailyLimit: number;
  readonly used: number;
  readonly remain: number;
}

/** What WeChat knows of a call that failed. Nothing that the call carried is in it: see GetRequestResponse in the proto. */
export interface KnownRequest {
  /** Wall-clock milliseconds since 1970; null: WeChat does not say. */
  readonly invokeTime: number | null;
  readonly costMs: number | null;
  /** The path, where WeChat says it, and the query's names with a mask for each value. */
  readonly url: string;
  readonly clientIp: string;
  /** What WeChat answered; null: that is not known, or had no errcode. */
  readonly errcode: number | null;
  readonly errmsg: string;
}

/**
 * WeChat's calls for operators. Each rejects with an UpstreamError and with nothing else: TOKEN_REFUSED where WeChat refuses the
 * token, DAILY_QUOTA_EXHAUSTED where a spent quota is in the way of the call itself.
 */
export interface OperatorApi {
  quota(app: App, cgiPath: string, token: string, signal: AbortSignal): Promise<CallQuota>;
  /** Clears the app's quotas; what WeChat said of it. */
  clearQuota(app: App, token: string, signal: AbortSignal): Promise<{ readonly errmsg: string }>;
  /** As `clearQuota`, by the AppSecret. */
  clearQuotaBySecret(app: App, signal: AbortSignal): Promise<{ readonly errmsg: string }>;
  request(app: App, rid: string, token: string, signal: AbortSignal): Promise<KnownRequest>;
}
