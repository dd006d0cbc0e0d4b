package lingpai;

/** A read found no token. */
public final class NoTokenException extends LingpaiException {
  private static final long serialVersionUID = 1;

  /** Why there is no token: SPEC.md has what each means. */
  public enum Reason {
    /** Nothing was said of the app yet. */
    WAITING,
    /** There has never been a token. */
    PENDING,
    /** The token's life is over. */
    EXPIRED,
    /** The app was taken out of the broker's configuration. */
    REMOVED,
    /** The broker does not know the app. */
    NOT_FOUND
  }

  /** See {@link #app}. */
  private final String app;
  /** See {@link #reason}. */
  private final Reason reason;
  /** See {@link #words}. */
  private final String words;

  NoTokenException(String app, Reason reason, String words) {
    super("no token of " + app + ": " + reason + (words.isEmpty() ? "" : ", " + words), null);
    this.app = app;
    this.reason = reason;
    this.words = words;
  }

  /** {@return the app that was read} */
  public String app() {
    return app;
  }

  /** {@return the broker's own words about it, or empty} */
  public String words() {
    return words;
  }

  /** {@return why there is no token} */
  public Reason reason() {
    return reason;
  }
}
