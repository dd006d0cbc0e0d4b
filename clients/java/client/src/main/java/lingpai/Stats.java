package lingpai;

import java.util.Map;

/** How a client is doing. */
public final class Stats {
  private final String state;
  private final long[] counts;
  private final Map<String, App> apps;

  Stats(String state, long[] counts, Map<String, App> apps) {
    this.state = state;
    this.counts = counts;
    this.apps = apps;
  }

  /** {@return {@code CONNECTING}, {@code LIVE}, {@code STALE} (the stream is lost; the tokens are served) or {@code CLOSED}} */
  public String state() {
    return state;
  }

  /** {@return how many streams were tried} */
  public long attempts() {
    return counts[0];
  }

  /** {@return how many streams brought a message after one was lost} */
  public long reconnects() {
    return counts[1];
  }

  /** {@return how many goaways came} */
  public long goaways() {
    return counts[2];
  }

  /** {@return how many reports were sent} */
  public long reports() {
    return counts[3];
  }

  /** {@return how each app is doing} */
  public Map<String, App> apps() {
    return apps;
  }

  /** How an app is doing. */
  public static final class App {
    private final String state;
    private final long generation;
    private final String tokenId;
    private final String reason;

    App(String state, long generation, String tokenId, String reason) {
      this.state = state;
      this.generation = generation;
      this.tokenId = tokenId;
      this.reason = reason;
    }

    /** {@return {@code WAITING}, {@code HELD} or {@code NONE}} */
    public String state() {
      return state;
    }

    /** {@return the generation of the token that is held, unsigned} */
    public long generation() {
      return generation;
    }

    /** {@return the id of the token that is held, or empty} */
    public String tokenId() {
      return tokenId;
    }

    /** {@return why there is no token, or empty} */
    public String reason() {
      return reason;
    }

    boolean isAs(App other) {
      return state.equals(other.state)
          && generation == other.generation
          && tokenId.equals(other.tokenId)
          && reason.equals(other.reason);
    }
  }
}
