/** The health of one app's token: `lingpai.v1.TokenStatus`. */
export type Status = 'PENDING' | 'FRESH' | 'DEGRADED' | 'EXPIRED';

/** One access_token as callers see it. Times are wall-clock milliseconds since 1970. */
export interface Token {
  readonly value: string;
  /** The first 12 hexadecimal digits of the value's SHA-256: the only name of a token in logs. */
  readonly id: string;
  readonly issueTime: number;
  readonly expireTime: number;
}

/** All that callers see of one app, as of one moment. Frozen: a change makes a new one. */
export interface TokenState {
  readonly appId: string;
  readonly generation: number;
  readonly current: Token | null;
  readonly previous: Token | null;
  readonly status: Status;
  readonly statusReason: string;
  /** When WeChat will next be asked; null when nothing is planned. */
  readonly nextRefreshTime: number | null;
  /** The monotonic time of WeChat's answer that brought `current`, for measuring how fast it reaches watchers. */
  readonly answeredAt: number;
}

/** What ForceRefresh did: `lingpai.v1.ForceRefreshOutcome`. */
export type ForceOutcome = 'REFRESHED' | 'JOINED' | 'ALREADY_NEWER' | 'STILL_VALID';
