/** What every error of this library is. No message has a token's value or a key. */
export class LingpaiError extends Error {
  /** The error's name in every Lingpai library. */
  readonly kind: 'NoToken' | 'StartTimeout' | 'Rpc' | 'Rejected' | 'Closed' | 'Configuration';

  constructor(kind: LingpaiError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.name = `${kind}Error`;
  }
}

/**
 * Why an app has no token: nothing was said of it yet; there has never been one; its life is over; the app was taken out of the
 * configuration; the broker does not know it, or this caller may not read it.
 */
export type NoTokenReason = 'WAITING' | 'PENDING' | 'EXPIRED' | 'REMOVED' | 'NOT_FOUND';

/** A read found no token. */
export class NoTokenError extends LingpaiError {
  readonly app: string;
  /** TIMEOUT: `waitFor` ran out of time. */
  readonly reason: NoTokenReason | 'TIMEOUT';

  /** `words`: what the broker says of it. */
  constructor(app: string, reason: NoTokenReason | 'TIMEOUT', words = '') {
    super('NoToken', `no token of ${app}: ${reason}${words && `, ${words}`}`);
    this.app = app;
    this.reason = reason;
  }
}

/** The start did not get a token of every app in time (R4). `cause` is the last error. */
export class StartTimeoutError extends LingpaiError {
  /** The apps of which there was no token. */
  readonly apps: readonly string[];

  constructor(apps: readonly string[], timeoutMs: number, cause?: Error) {
    const named = apps.slice(0, 10).join(', ') + (apps.length > 10 ? ` and ${apps.length - 10} more` : '');
    const last = cause ? `; the last error: ${cause.message}` : '';
    super('StartTimeout', `no token of ${named} within ${timeoutMs} ms${last}`, { cause });
    this.apps = apps;
  }
}

/** The broker answered with an error, or could not be reached. */
export class RpcError extends LingpaiError {
  /** The gRPC code's name, such as NOT_FOUND. */
  readonly code: string;
  /** ErrorInfo.reason, such as COOLDOWN. Empty where the error is not the broker's own. */
  readonly reason: string;
  /** What the broker said, without the code. */
  readonly words: string;
  /** ErrorInfo.metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What RetryInfo asks for, in milliseconds; null where it is absent. */
  readonly retryAfterMs: number | null;
  /** The TLS handshake failed, or a credential could not be read: nobody was asked (`cause` says why). */
  readonly isLocal: boolean;

  constructor(fields: {
    code: string;
    words: string;
    reason?: string;
    metadata?: Readonly<Record<string, string>>;
    retryAfterMs?: number | null;
    isLocal?: boolean;
    cause?: unknown;
  }) {
    const { code, words, reason = '', metadata = {}, retryAfterMs = null, isLocal = false, cause } = fields;
    super('Rpc', `${words} (${reason || code})`, { cause });
    [this.code, this.words, this.reason] = [code, words, reason];
    [this.metadata, this.retryAfterMs, this.isLocal] = [metadata, retryAfterMs, isLocal];
  }

  /** The app that the error is about, or undefined. */
  get app(): string | undefined {
    return this.metadata['app_id'];
  }
}

/** WeChat's errcodes that say that the token was refused. */
const REFUSALS: ReadonlySet<unknown> = new Set([40001, 40014, 42001]);

/** What the function of `Source.call` throws when WeChat refused the token: errcode 40001, 40014 or 42001. */
export class RejectedError extends LingpaiError {
  readonly errcode: number;

  constructor(errcode: number, errmsg = '') {
    super('Rejected', `WeChat refused the token: errcode ${errcode}${errmsg && `, ${errmsg}`}`);
    this.errcode = errcode;
  }

  /** Throws RejectedError where an answer of WeChat's says so; else returns it. Another errcode is for the caller to look at. */
  static check<T>(answer: T): T {
    const { errcode, errmsg } = (answer ?? {}) as { errcode?: unknown; errmsg?: unknown };
    if (isRefusal(errcode)) throw new RejectedError(errcode, typeof errmsg === 'string' ? errmsg : '');
    return answer;
  }
}

/** Whether an errcode of WeChat's says that the token was refused. */
export function isRefusal(errcode: unknown): errcode is number {
  return REFUSALS.has(errcode);
}

/** The client was closed. */
export class ClosedError extends LingpaiError {
  constructor() {
    super('Closed', 'the client was closed');
  }
}

/** An option is wrong: raised before anything is sent. */
export class ConfigurationError extends LingpaiError {
  /** The option, as it is written. */
  readonly option: string;
  /** What is wrong, and what to write: the message without the option. */
  readonly words: string;

  constructor(option: string, words: string) {
    super('Configuration', `${option}: ${words}`);
    [this.option, this.words] = [option, words];
  }
}
