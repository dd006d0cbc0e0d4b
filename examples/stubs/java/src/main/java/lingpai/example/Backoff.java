package lingpai.example;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** How long to wait between streams that fail. */
final class Backoff {
  /** The longest that a RetryInfo is believed. */
  static final Duration RETRY_MAX = Duration.ofMinutes(5);

  private static final long PAUSE_MIN_MS = 100;
  private static final long GOAWAY_MAX_MS = 60_000;

  private int failures;
  private boolean slow;

  /** How many failures of one kind there were in a row. */
  int failures() {
    return failures;
  }

  /** A stream lived well: what failed before it is forgiven. */
  void reset() {
    failures = 0;
  }

  /** The pause after a goaway that asks for one. */
  static Duration afterGoaway(Duration asked) {
    return Duration.ofMillis(Math.max(PAUSE_MIN_MS, Math.min(asked.toMillis(), GOAWAY_MAX_MS)));
  }

  /**
   * The pause after a failure. It is drawn at random, so that many clients that lost one broker do not return together,
   * and is never shorter than the broker asks. lived: the stream that failed was a good one.
   */
  Duration after(Failure failure, boolean lived) {
    // A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
    boolean renewed = lived && failure.reason().equals("CREDENTIALS_EXPIRED");
    boolean mustWait = failure.needsOperator() && !renewed;
    if (mustWait != slow) {
      slow = mustWait;
      failures = 0;
    }
    long base = slow ? 30_000 : 500;
    long bound = Math.min(slow ? 300_000 : 10_000, base << Math.min(failures, 10));
    failures++;
    long asked = Math.min(failure.retryAfter().toMillis(), RETRY_MAX.toMillis());
    if (slow) return spread(Math.max(bound, asked));
    long pause = ThreadLocalRandom.current().nextLong(PAUSE_MIN_MS, bound);
    return pause > asked ? Duration.ofMillis(pause) : spread(asked);
  }

  /** Adds up to a fifth. */
  private static Duration spread(long ms) {
    return Duration.ofMillis(ms + ThreadLocalRandom.current().nextLong(ms / 5 + 1));
  }
}
