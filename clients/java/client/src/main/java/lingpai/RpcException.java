package lingpai;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;

/** A call of the broker failed: it answered with an error, or it could not be reached. */
public final class RpcException extends LingpaiException {
  private static final long serialVersionUID = 1;

  private static final List<String> SLOW = Arrays.asList("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED");

  /** See {@link #code}. */
  private final String code;
  /** See {@link #reason}. */
  private final String reason;
  /** See {@link #app}. */
  private final String app;
  /** See {@link #retryAfter}. */
  private final long retryAfterMs;
  /** See {@link #needsOperator}. */
  private final boolean needsOperator;

  RpcException(String code, String reason, String words, String app, long retryAfterMs) {
    super(messageOf(code, reason, words, app), null);
    this.code = code;
    this.reason = reason;
    this.app = app;
    this.retryAfterMs = retryAfterMs;
    this.needsOperator = SLOW.contains(code);
  }

  private RpcException(String code, String words, boolean needsOperator, Throwable cause) {
    super(messageOf(code, "", words, ""), cause);
    this.code = code;
    this.reason = "";
    this.app = "";
    this.retryAfterMs = 0;
    this.needsOperator = needsOperator;
  }

  /** The same, or UNKNOWN where it is none. */
  static RpcException of(Throwable thrown) {
    return thrown instanceof RpcException ? (RpcException) thrown : new RpcException("UNKNOWN", thrown.toString(), false, thrown);
  }

  static RpcException unavailable(String words, Throwable cause) {
    return new RpcException("UNAVAILABLE", words, false, cause);
  }

  /** Somebody must mend it. */
  static RpcException broken(String code, String words, Throwable cause) {
    return new RpcException(code, words, true, cause);
  }

  private RpcException(RpcException before) {
    super(before.getMessage(), before);
    this.code = before.code;
    this.reason = before.reason;
    this.app = before.app;
    this.retryAfterMs = before.retryAfterMs;
    this.needsOperator = before.needsOperator;
  }

  /** The same, for another thread to throw: its trace says who asked. */
  RpcException again() {
    return new RpcException(this);
  }

  private static String messageOf(String code, String reason, String words, String app) {
    String about = app.isEmpty() || words.contains(app) ? words : words + " (" + app + ")";
    return code + (reason.isEmpty() ? "" : ": " + reason) + (about.isEmpty() ? "" : ": " + about);
  }

  /** {@return the name of the gRPC code: {@code UNAVAILABLE}} */
  public String code() {
    return code;
  }

  /** {@return the broker's {@code ErrorReason}, {@code APP_NOT_FOUND} for one; empty where the error is not the broker's own} */
  public String reason() {
    return reason;
  }

  /** {@return what the error is about, or empty} */
  public String app() {
    return app;
  }

  /** {@return what RetryInfo asks for, or zero} */
  public Duration retryAfter() {
    return Duration.ofMillis(retryAfterMs);
  }

  long retryAfterMs() {
    return retryAfterMs;
  }

  /** Whether the broker knows the app and only has no token of it yet: its refresh failed, and that is a Get's answer (R10). */
  boolean knows(String app) {
    return this.app.equals(app) && !code.equals("NOT_FOUND") && !needsOperator;
  }

  /** {@return whether somebody must mend it: a key, a permission, an address, a certificate} */
  public boolean needsOperator() {
    return needsOperator;
  }
}
