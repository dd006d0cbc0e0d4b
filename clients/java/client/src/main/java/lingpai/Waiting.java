package lingpai;

import java.util.concurrent.TimeUnit;

/** Waits on a lock. */
final class Waiting {
  /** The longest that one wait lasts; whoever waits looks again after it. */
  private static final long LONGEST_NS = 3_600_000_000_000L;

  private Waiting() {}

  /** Waits until the lock, which the caller holds, is notified, but not beyond end by System.nanoTime(). False where that time is over already. */
  static boolean until(long end, Object lock) throws InterruptedException {
    long left = Math.min(end - System.nanoTime(), LONGEST_NS);
    if (left <= 0) return false;
    TimeUnit.NANOSECONDS.timedWait(lock, left + 1_000_000); // a part of a millisecond is cut off
    return true;
  }
}
