package lingpai.wxjava;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.Lock;

/** Locks nothing. WxJava has a token expired under its lock, so that callers would report one after the other; the source has them share one report. */
final class NoLock implements Lock {
  static final Lock INSTANCE = new NoLock();

  private NoLock() {}

  @Override
  public void lock() {}

  @Override
  public void lockInterruptibly() {}

  @Override
  public boolean tryLock() {
    return true;
  }

  @Override
  public boolean tryLock(long time, TimeUnit unit) {
    return true;
  }

  @Override
  public void unlock() {}

  @Override
  public Condition newCondition() {
    throw new UnsupportedOperationException("this lock locks nothing");
  }
}
