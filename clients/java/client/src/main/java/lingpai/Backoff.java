package lingpai;

import java.util.function.DoubleSupplier;

/** The pauses between streams that fail: rules R5, R8 and R9 of SPEC.md. */
final class Backoff {
  private final Timing timing;
  private final DoubleSupplier draw;
  private boolean isSlow;
  /** In a row, of one kind. */
  int failures;

  /** draw gives a number from 0 to 1. */
  Backoff(Timing timing, DoubleSupplier draw) {
    this.timing = timing;
    this.draw = draw;
  }

  /** The pause after a failure, in milliseconds. lived: for how long its stream did after its first message; negative: no message came. */
  long after(RpcException error, long lived) {
    // A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
    boolean slow = error.needsOperator() && !(lived >= 0 && error.reason().equals("CREDENTIALS_EXPIRED"));
    if (slow != isSlow || lived >= timing.life) failures = 0;
    isSlow = slow;
    long base = slow ? timing.slow : timing.backoffBase;
    long cap = slow ? timing.slowCap : timing.backoffCap;
    long bound = (long) Math.min(cap, base * Math.pow(2, Math.min(failures, 30)));
    failures++;
    long asked = Math.min(error.retryAfterMs(), timing.retryCap);
    if (slow) return spread(Math.max(bound, asked));
    long pause = timing.backoffFloor + (long) (draw.getAsDouble() * Math.max(0, bound - timing.backoffFloor));
    return pause >= asked ? pause : spread(asked);
  }

  /** A stream ended without a failure: a good one makes the pauses short again. lived: as above. */
  void ended(long lived) {
    if (lived >= timing.life) failures = 0;
  }

  private long spread(long ms) {
    return ms + (long) (ms * draw.getAsDouble() / 5);
  }
}
