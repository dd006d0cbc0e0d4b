package lingpai;

import java.util.LinkedHashMap;
import java.util.Map;

/** Stands in for a client where no broker is: each report brings the next of some values. */
final class FixedKeeper implements Keeper {
  private final Object lock = new Object();
  private final Teller told = new Teller(event -> {}, Runnable::run);
  private final transient String[] values;
  private int at;

  FixedKeeper(String... values) {
    this.values = values.clone();
  }

  /** The value of now, as the broker tells a state. It does not expire. */
  Map<String, Object> state() {
    Map<String, Object> current = new LinkedHashMap<>();
    current.put("value", values[at]);
    Map<String, Object> state = new LinkedHashMap<>();
    state.put("generation", String.valueOf(at + 1));
    state.put("current", current);
    return state;
  }

  @Override
  public Map<String, Object> forceRefresh(String request) {
    synchronized (lock) {
      boolean isLast = at + 1 == values.length;
      if (!isLast) at++;
      Map<String, Object> answer = new LinkedHashMap<>();
      answer.put("outcome", isLast ? "STILL_VALID" : "REFRESHED");
      answer.put("state", state());
      return answer;
    }
  }

  @Override
  public void spawn(String thread, Runnable work) {
    work.run();
  }

  @Override
  public Object lock() {
    return lock;
  }

  @Override
  public Teller told() {
    return told;
  }

  @Override
  public Runnable after(long nanos, Runnable work) {
    return () -> {};
  }

  @Override
  public long nanoTime() {
    return System.nanoTime();
  }

  @Override
  public long retryCapMs() {
    return 0;
  }
}
