package lingpai;

import java.util.function.DoubleSupplier;

/** The pauses between streams that fail: rules R5, R8 and R9 of SPEC.md. */
final class Backoff {
  private final Timing timing;
  private final DoubleSupplier draw;
  /** Failures of each kind since a good stream. */
  private int fast;

  private int slow;

  /** draw gives a number from 0 to 1. */
  Backoff(Timing timing, DoubleSupplier draw) {
    this.timing = timing;
    this.draw = draw;
  }

  /** Whether somebody must mend something first. A credential that expired while it was used is only read anew. lived: as below. */
  static boolean isSlow(RpcException error, long lived) {
    return error.needsOperator() && !(lived >= 0 && error.reason().equals("CREDENTIALS_EXPIRED"));
  }

  /** The pause after a failure, in milliseconds. lived: for how long its stream did after its first message; negative: no message came. */
  long after(RpcException error, long lived) {
    ended(lived);
    long asked = Math.min(error.retryAfterMs(), timing.retryCap);
    if (isSlow(error, lived)) return spread(Math.max(asked, doubled(timing.slow, slow++, timing.slowCap)));
    long bound = doubled(timing.backoffBase, fast++, timing.backoffCap);
    long pause = timing.backoffFloor + (long) (draw.getAsDouble() * Math.max(0, bound - timing.backoffFloor));
    return pause >= asked ? pause : spread(asked);
  }

  /** A stream is over: after a good one the pauses are short again. lived: as above. */
  void ended(long lived) {
    if (lived >= timing.life) fast = slow = 0;
  }

  private long spread(long ms) {
    return ms + (long) (ms * draw.getAsDouble() / 5);
  }

  private static long doubled(long ms, int times, long cap) {
    return Math.min(cap, ms << Math.min(times, 30));
  }
}
