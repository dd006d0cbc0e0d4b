/** Why there is no token: SPEC.md has what each means. */
export type NoTokenReason = 'WAITING' | 'PENDING' | 'EXPIRED' | 'REMOVED' | 'NOT_FOUND';

/** A read found no token. */
export class NoTokenError extends Error {
  override readonly name = 'NoTokenError';
  readonly app: string;
  readonly reason: NoTokenReason;
  /** The broker's own words; empty where it has none. */
  readonly words: string;

  constructor(app: string, reason: NoTokenReason, words = '') {
    super(`no token of ${app}: ${reason}${words === '' ? '' : `, ${words}`}`);
    this.app = app;
    this.reason = reason;
    this.words = words;
  }
}

/** The start did not get a token of every app in time. `cause`: the last error, if there was one. */
export class StartTimeoutError extends Error {
  override readonly name = 'StartTimeoutError';
  /** The apps that have no token. */
  readonly apps: readonly string[];

  constructor(apps: readonly string[], ms: number, cause: Error | undefined) {
    super(`no token of ${apps.join(', ')} within ${ms} ms${cause ? `: ${cause.message}` : ''}`, { cause });
    this.apps = apps;
  }
}

/** A call of the broker failed: it answered with an error, or it could not be reached. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** The name of the gRPC code: `UNAVAILABLE`. */
  readonly code: string;
  /** The broker's `ErrorReason`: `APP_NOT_FOUND`. Empty where the error is not the broker's own. */
  readonly reason: string;
  /** The app that the error is about; empty where it is about none. */
  readonly app: string;
  /** What RetryInfo asks for, in milliseconds; 0 where it does not. */
  readonly retryAfterMs: number;
  /** Somebody must mend it: a key, a permission, an address, a certificate. */
  readonly needsOperator: boolean;

  constructor(
    code: string,
    words: string,
    more: { reason?: string; app?: string; retryAfterMs?: number; needsOperator?: boolean; cause?: unknown } = {},
  ) {
    const { reason = '', app = '', retryAfterMs = 0, needsOperator = slow.has(code), cause } = more;
    super([code, reason, app && !words.includes(app) ? `${words} (${app})` : words].filter(Boolean).join(': '), {
      cause,
    });
    this.code = code;
    this.reason = reason;
    this.app = app;
    this.retryAfterMs = retryAfterMs;
    this.needsOperator = needsOperator;
  }
}

const slow = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED']);

/** What a business call throws when WeChat refuses the access_token: errcode 40001, 40014 or 42001. */
export class RejectedError extends Error {
  override readonly name = 'RejectedError';
  readonly errcode: number;

  constructor(errcode: number, errmsg = '') {
    super(`WeChat refused the access_token: errcode ${errcode}${errmsg === '' ? '' : ` ${errmsg}`}`);
    this.errcode = errcode;
  }
}

/** Whether an errcode of WeChat says that the access_token was refused. */
export function isRejection(errcode: unknown): boolean {
  return errcode === 40001 || errcode === 40014 || errcode === 42001;
}

/** The client was closed. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError';

  constructor() {
    super('the client is closed');
  }
}

/** An option is wrong; the message names it, says what is wrong, and what to write. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}
