import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { LingpaiError, type Reason } from '../core/kernel/errors.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.js';

/** The `domain` of every google.rpc.ErrorInfo that the broker sends. */
export const ERROR_DOMAIN = 'lingpai';

/** The gRPC status of each reason, as the comments of `lingpai.v1.ErrorReason` promise it. */
export const CODES: Readonly<Record<Reason, Code>> = {
  INVALID_REQUEST: Code.InvalidArgument,
  APP_NOT_FOUND: Code.NotFound,
  GENERATION_NOT_REACHED: Code.DeadlineExceeded,
  COOLDOWN: Code.ResourceExhausted,
  BUDGET_EXHAUSTED: Code.ResourceExhausted,
  WATCHER_STALLED: Code.ResourceExhausted,
  TOO_MANY_WATCHERS: Code.ResourceExhausted,
  DRAINING: Code.Unavailable,
  UPSTREAM_UNREACHABLE: Code.Unavailable,
  UPSTREAM_TIMEOUT: Code.Unavailable,
  UPSTREAM_MALFORMED: Code.Unavailable,
  UPSTREAM_BUSY: Code.Unavailable,
  UPSTREAM_ERROR: Code.Unavailable,
  SECRET_INVALID: Code.FailedPrecondition,
  SECRET_FROZEN: Code.FailedPrecondition,
  APP_ID_INVALID: Code.FailedPrecondition,
  UPSTREAM_REQUEST_INVALID: Code.FailedPrecondition,
  IP_NOT_ALLOWED: Code.FailedPrecondition,
  ACCOUNT_CLOSED: Code.FailedPrecondition,
  CONFIRMATION_REQUIRED: Code.FailedPrecondition,
  CONFIRMATION_REFUSED: Code.FailedPrecondition,
  DAILY_QUOTA_EXHAUSTED: Code.ResourceExhausted,
  MINUTE_QUOTA_EXHAUSTED: Code.ResourceExhausted,
  INTERNAL: Code.Internal,
  PERMIT_MISSING: Code.FailedPrecondition,
  IDEMPOTENCY_KEY_REUSED: Code.InvalidArgument,
  DELIVERY_UNKNOWN: Code.Unknown,
  SEND_QUOTA_EXHAUSTED: Code.ResourceExhausted,
  SEND_LIMIT_EXCEEDED: Code.ResourceExhausted,
  TOKEN_REFUSED: Code.Unavailable,
  LEDGER_UNAVAILABLE: Code.Unavailable,
  OPENID_INVALID: Code.InvalidArgument,
  TEMPLATE_ID_INVALID: Code.InvalidArgument,
  PAGE_INVALID: Code.InvalidArgument,
  DATA_INVALID: Code.InvalidArgument,
  FORM_ID_INVALID: Code.FailedPrecondition,
  FORM_ID_USED: Code.FailedPrecondition,
  CONSENT_MISSING: Code.FailedPrecondition,
  TOO_FREQUENT: Code.ResourceExhausted,
  INTERFACE_RETIRED: Code.FailedPrecondition,
  INTERFACE_NOT_GRANTED: Code.FailedPrecondition,
  MESSAGE_REFUSED: Code.FailedPrecondition,
  STORE_UNAVAILABLE: Code.Unavailable,
  USER_NOT_SUBSCRIBED: Code.FailedPrecondition,
  USER_OPTED_OUT: Code.FailedPrecondition,
  PERMIT_LIMIT_EXCEEDED: Code.ResourceExhausted,
  TOO_MANY_WAITING: Code.ResourceExhausted,
  CREDENTIALS_MISSING: Code.Unauthenticated,
  CREDENTIALS_INVALID: Code.Unauthenticated,
  CREDENTIALS_EXPIRED: Code.Unauthenticated,
  ACCESS_DENIED: Code.PermissionDenied,
  CALLER_LIMITED: Code.ResourceExhausted,
  AUDIT_UNAVAILABLE: Code.Unavailable,
};

/**
 * The status that a caller gets for whatever a handler threw.
 *
 * A LingpaiError keeps its words and gets its details (ErrorInfo, RetryInfo, BadRequest). A caller's own cancellation or
 * deadline is CANCELLED or DEADLINE_EXCEEDED. A ConnectError is a status already. Anything else is a fault of ours: it
 * goes to `report`, for the log, and the caller learns nothing of it but that it happened.
 */
export function toConnectError(error: unknown, report: (error: unknown) => void): ConnectError {
  if (error instanceof LingpaiError) return fromLingpaiError(error);
  if (error instanceof ConnectError) return error;
  if (error instanceof DOMException && error.name === 'AbortError')
    return new ConnectError('the caller cancelled the call', Code.Canceled);
  if (error instanceof DOMException && error.name === 'TimeoutError')
    return new ConnectError("the call's deadline has passed", Code.DeadlineExceeded);
  report(error);
  return fromLingpaiError(
    new LingpaiError('the broker failed to handle the call; its log has the cause', { reason: 'INTERNAL' }),
  );
}

function fromLingpaiError(error: LingpaiError): ConnectError {
  const { message, reason, retryAfterMs } = error;
  return new ConnectError(message, CODES[reason], undefined, [
    detail(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata: metadata(error) }),
    ...(retryAfterMs === undefined
      ? []
      : [detail(RetryInfoSchema, { retryDelay: durationFromMs(Math.max(0, Math.ceil(retryAfterMs))) })]),
    ...(CODES[reason] === Code.InvalidArgument
      ? [detail(BadRequestSchema, { fieldViolations: [...error.violations] })]
      : []),
  ]);
}

function metadata({ appId, answer }: LingpaiError): Record<string, string> {
  return {
    ...(appId !== undefined && { app_id: appId }),
    ...(answer && { errcode: String(answer.errcode), errmsg: answer.errmsg }),
    ...(answer?.rid && { rid: answer.rid }),
  };
}

function detail<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>) {
  return { desc, value };
}
