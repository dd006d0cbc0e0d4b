package lingpai;

import java.time.Duration;
import java.util.List;

/** The start did not get a token of every app in time. Its cause is the last error, if there was one. */
public final class StartTimeoutException extends LingpaiException {
  private static final long serialVersionUID = 1;

  private final transient List<String> apps;

  StartTimeoutException(List<String> apps, Duration timeout, RpcException last) {
    super(
        "no token of " + String.join(", ", apps) + " within " + timeout.toMillis() + " ms"
            + (last == null ? "" : ": " + last.getMessage()),
        last);
    this.apps = apps;
  }

  /** {@return the apps that have no token} */
  public List<String> apps() {
    return apps;
  }
}
