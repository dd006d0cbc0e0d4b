package lingpai.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * What an error says, read from the details of the gRPC status.
 *
 * @param reason the broker's ErrorReason; empty when the error is not its own, as when it cannot be reached
 * @param retryAfter how long to wait before a retry can help; zero when that is not said
 */
record Failure(String code, String reason, String message, Duration retryAfter) {

  static Failure of(Exception error) {
    Status status = Status.fromThrowable(error);
    String reason = "";
    Duration retryAfter = Duration.ZERO;
    com.google.rpc.Status details = StatusProto.fromThrowable(error);
    try {
      for (Any detail : details == null ? List.<Any>of() : details.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) reason = detail.unpack(ErrorInfo.class).getReason();
        if (detail.is(RetryInfo.class)) retryAfter = toDuration(detail.unpack(RetryInfo.class).getRetryDelay());
      }
    } catch (InvalidProtocolBufferException malformed) {
      reason = "";
    }
    String message = status.getDescription() != null ? status.getDescription() : error.getMessage();
    if (status.getCause() instanceof IOException cause) message += ": " + cause.getMessage();
    return new Failure(status.getCode().name(), reason, message, retryAfter);
  }

  static Duration toDuration(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }

  /** Waiting will not help, since the request itself is wrong. */
  boolean permanent() {
    return reason.equals("APP_NOT_FOUND") || reason.equals("INVALID_REQUEST");
  }

  /** Someone must mend a key, a permission or the address first: ask seldom. */
  boolean needsOperator() {
    return List.of("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED").contains(code);
  }

  /** The failure as data for a log line. */
  Map<String, Object> fields(String during, Duration retryIn) {
    return Map.of(
        "during", during,
        "code", code,
        "reason", reason,
        "message", message == null ? "" : message,
        "retry_in_ms", retryIn.toMillis());
  }
}
