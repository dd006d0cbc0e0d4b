package lingpai;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.Function;

/** A client that a test plays: its clock stands until it is moved, and it answers reports as it is told. */
final class FakeKeeper implements Keeper {
  final Object lock = new Object();
  final List<String> events = new ArrayList<>();
  final List<String> requests = new ArrayList<>();
  final Teller told = new Teller(event -> events.add(event.type() + " " + event.state() + event.outcome() + event.code() + " " + event.reason()), Runnable::run);
  Function<String, Map<String, Object>> broker = request -> {
    throw new AssertionError("nobody was to be asked");
  };
  /** Where work is done that has a thread of its own. */
  Executor threads = Runnable::run;
  private final List<Plan> plans = new ArrayList<>();
  private long now = -1_000; // System.nanoTime() may be negative

  private static final class Plan {
    final long at;
    final Runnable work;

    Plan(long at, Runnable work) {
      this.at = at;
      this.work = work;
    }
  }

  /** Moves the clock, and does what is due. */
  void advanceMs(long ms) {
    now += ms * 1_000_000;
    List<Plan> due = new ArrayList<>();
    for (Plan plan : plans) if (plan.at <= now) due.add(plan);
    plans.removeAll(due);
    due.forEach(plan -> plan.work.run());
  }

  int plans() {
    return plans.size();
  }

  @Override
  public Object lock() {
    return lock;
  }

  @Override
  public Map<String, Object> forceRefresh(String request) {
    synchronized (requests) {
      requests.add(request);
    }
    return broker.apply(request);
  }

  @Override
  public void spawn(String thread, Runnable work) {
    threads.execute(work);
  }

  @Override
  public Teller told() {
    return told;
  }

  @Override
  public Runnable after(long nanos, Runnable work) {
    Plan plan = new Plan(now + nanos, work);
    plans.add(plan);
    return () -> plans.remove(plan);
  }

  @Override
  public long nanoTime() {
    return now;
  }

  @Override
  public long retryCapMs() {
    return 300_000;
  }
}
