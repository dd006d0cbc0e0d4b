/** Why a call fails: the names of `lingpai.v1.ErrorReason` without their prefix. */
export type Reason =
  | 'INVALID_REQUEST'
  | 'APP_NOT_FOUND'
  | 'GENERATION_NOT_REACHED'
  | 'COOLDOWN'
  | 'BUDGET_EXHAUSTED'
  | 'WATCHER_STALLED'
  | 'TOO_MANY_WATCHERS'
  | 'TOO_MANY_WAITING'
  | 'DRAINING'
  | 'INTERNAL'
  | 'PERMIT_MISSING'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'DELIVERY_UNKNOWN'
  | 'SEND_QUOTA_EXHAUSTED'
  | 'SEND_LIMIT_EXCEEDED'
  | 'LEDGER_UNAVAILABLE'
  | 'PERMIT_LIMIT_EXCEEDED'
  | 'STORE_UNAVAILABLE'
  | AccessReason
  | UpstreamReason;

/** The reasons that lie with who calls: see docs/security.md. */
export type AccessReason =
  | 'CREDENTIALS_MISSING'
  | 'CREDENTIALS_INVALID'
  | 'CREDENTIALS_EXPIRED'
  | 'ACCESS_DENIED'
  | 'CALLER_LIMITED'
  | 'AUDIT_UNAVAILABLE';

/** The reasons that lie with WeChat or with the way to it. */
export type UpstreamReason =
  | 'UPSTREAM_UNREACHABLE'
  | 'UPSTREAM_TIMEOUT'
  | 'UPSTREAM_MALFORMED'
  | 'UPSTREAM_BUSY'
  | 'UPSTREAM_ERROR'
  | 'SECRET_INVALID'
  | 'SECRET_FROZEN'
  | 'APP_ID_INVALID'
  | 'UPSTREAM_REQUEST_INVALID'
  | 'IP_NOT_ALLOWED'
  | 'ACCOUNT_CLOSED'
  | 'CONFIRMATION_REQUIRED'
  | 'CONFIRMATION_REFUSED'
  | 'DAILY_QUOTA_EXHAUSTED'
  | 'MINUTE_QUOTA_EXHAUSTED'
  | MessageReason;

/** The reasons for which WeChat refuses a message. */
export type MessageReason =
  | 'TOKEN_REFUSED'
  | 'OPENID_INVALID'
  | 'TEMPLATE_ID_INVALID'
  | 'PAGE_INVALID'
  | 'DATA_INVALID'
  | 'FORM_ID_INVALID'
  | 'FORM_ID_USED'
  | 'CONSENT_MISSING'
  | 'USER_NOT_SUBSCRIBED'
  | 'USER_OPTED_OUT'
  | 'TOO_FREQUENT'
  | 'INTERFACE_RETIRED'
  | 'INTERFACE_NOT_GRANTED'
  | 'MESSAGE_REFUSED';

/** What WeChat said, free of secrets. */
export interface UpstreamAnswer {
  readonly errcode: number;
  readonly errmsg: string;
  /** WeChat's request id; its support asks for it. Empty when the answer had none. */
  readonly rid: string;
}

/** How soon a failed call is worth repeating. */
export type Recovery =
  /** Try again after a backoff that grows with the failures. */
  | { readonly kind: 'backoff' }
  /** Nothing will change until a person acts: try again after this pause, or when the configuration changes. */
  | { readonly kind: 'pause'; readonly ms: number }
  /** Try again within 15 minutes, since operators clear quotas, and when the daily quota resets. */
  | { readonly kind: 'daily_quota' }
  /** Try again in the next minute. */
  | { readonly kind: 'minute_quota' }
  /** The same call will fail for ever. */
  | { readonly kind: 'never' };

/**
 * What is known of the effect of a failed call.
 * `unsent`: no byte reached WeChat. `refused`: WeChat answered that it did not do it. `unknown`: it may have been done.
 */
export type CallEffect = 'unsent' | 'refused' | 'unknown';

/** A call to WeChat that did not succeed. Adapters throw nothing else. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly reason: UpstreamReason;
  readonly recovery: Recovery;
  readonly effect: CallEffect;
  readonly answer: UpstreamAnswer | undefined;

  /** `message` says in words what is wrong and what to do; it holds no secret, token or openid. */
  constructor(
    message: string,
    options: { reason: UpstreamReason; recovery: Recovery; effect: CallEffect; answer?: UpstreamAnswer | undefined },
  ) {
    super(message);
    this.reason = options.reason;
    this.recovery = options.recovery;
    this.effect = options.effect;
    this.answer = options.answer;
  }
}

/** One field of a request and what is wrong with it. */
export interface Violation {
  /** The path of the field, in proto names: `app_id`. */
  readonly field: string;
  readonly description: string;
}

/** An error that a caller of the broker gets; `src/rpc/errors.ts` turns it into a gRPC status. */
export class LingpaiError extends Error {
  override readonly name = 'LingpaiError';
  readonly reason: Reason;
  readonly appId: string | undefined;
  readonly answer: UpstreamAnswer | undefined;
  /** After how many milliseconds a retry can help; undefined when none can. */
  readonly retryAfterMs: number | undefined;
  readonly violations: readonly Violation[];

  constructor(
    message: string,
    options: {
      reason: Reason;
      appId?: string | undefined;
      answer?: UpstreamAnswer | undefined;
      retryAfterMs?: number | undefined;
      violations?: readonly Violation[];
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = options.reason;
    this.appId = options.appId;
    this.answer = options.answer;
    this.retryAfterMs = options.retryAfterMs;
    this.violations = options.violations ?? [];
  }
}

/** A failure as a caller is told of it who may ask again after `retryAfterMs`. */
export function callersError(error: UpstreamError | LingpaiError, appId: string, retryAfterMs: number): LingpaiError {
  const { message, reason, answer } = error;
  return new LingpaiError(message, { reason, answer, appId, retryAfterMs: Math.max(0, retryAfterMs) });
}

/** How soon it is worth asking again when the store is away. */
const STORE_RETRY_MS = 2_000;

/** The store that the replicas share does not answer; `consequence` says what cannot be done or known without it. */
export function storeUnavailableError(appId: string, consequence: string, cause?: unknown): LingpaiError {
  return new LingpaiError(`the store that the replicas share does not answer: ${consequence}`, {
    reason: 'STORE_UNAVAILABLE',
    appId,
    retryAfterMs: STORE_RETRY_MS,
    cause,
  });
}

/** What is said of an app whose stored record no held key opens. The log names the key that it wants. */
export const RECORD_SEALED =
  "no key of this replica opens the app's record in the store: what is in memory is served, and no token is minted; give store.seal the key that the log names";

/** No mint is made over a record that cannot be opened. */
export function recordSealedError(appId: string, cause: unknown): LingpaiError {
  return new LingpaiError(RECORD_SEALED, { reason: 'STORE_UNAVAILABLE', appId, retryAfterMs: STORE_RETRY_MS, cause });
}

/** Nobody keeps this app. */
export function appNotFoundError(appId: string): LingpaiError {
  return new LingpaiError(`no app "${appId}" is configured`, { reason: 'APP_NOT_FOUND', appId });
}

/** Nothing more is begun. */
export function drainingError(): LingpaiError {
  return new LingpaiError('the broker is shutting down', { reason: 'DRAINING', retryAfterMs: 1_000 });
}
