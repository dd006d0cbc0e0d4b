import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

// google/rpc/status.proto and error_details.proto, as far as they are read here.
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
`);
const [Status, ErrorInfo, RetryInfo] = ['Status', 'ErrorInfo', 'RetryInfo'].map((name) => root.lookupType(name));

/** What this service would show the broker cannot be read; the message says why. */
export class NoCredential extends Error {}

/**
 * What an error says: a gRPC code, the ErrorReason behind it (empty when the error is not the broker's own, as when it cannot be
 * reached), words, and how many milliseconds to wait before a retry can help (0: not said).
 */
export class Failure {
  constructor(code, reason, message, retryAfterMs = 0) {
    Object.assign(this, { code, reason, message, retryAfterMs });
  }

  /** Waiting will not help, since the request itself is wrong. */
  get isPermanent() {
    return this.reason === 'APP_NOT_FOUND' || this.reason === 'INVALID_REQUEST';
  }

  /** Someone must mend a key, a permission or the address first: ask seldom. */
  get needsOperator() {
    return ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED'].includes(this.code);
  }

  /** The failure as data for a log line. */
  fields(during, retryInMs = this.retryAfterMs) {
    const { code, reason, message } = this;
    return { during, code, reason, message, retry_in_ms: Math.round(retryInMs) };
  }
}

/** Reads the details of a gRPC error; of any other it takes the message. */
export function explain(error) {
  if (error instanceof NoCredential) return new Failure('UNAUTHENTICATED', '', error.message);
  if (error.metadata === undefined) return new Failure('UNKNOWN', '', error.message);
  let [reason, retryAfterMs] = ['', 0];
  const [packed] = error.metadata.get('grpc-status-details-bin');
  for (const { typeUrl, value } of packed ? Status.decode(packed).details : []) {
    if (typeUrl.endsWith('/google.rpc.ErrorInfo')) reason = ErrorInfo.decode(value).reason;
    if (typeUrl.endsWith('/google.rpc.RetryInfo')) retryAfterMs = msOf(RetryInfo.decode(value).retryDelay);
  }
  return new Failure(grpc.status[error.code], reason, error.details, retryAfterMs);
}

/** Milliseconds of a google.protobuf.Duration. */
export function msOf(duration) {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}
