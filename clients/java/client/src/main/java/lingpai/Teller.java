package lingpai;

import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.logging.Level;

/** Tells events in their order, one at a time, on a thread that does nothing else: the observer may use the client, and holds up nobody. */
final class Teller {
  private final Consumer<Event> observer;
  private final Executor thread;

  /** thread: does one thing after the other. */
  Teller(Consumer<Event> observer, Executor thread) {
    this.observer = observer;
    this.thread = thread;
  }

  /** Has an event told. May be called under a lock. */
  void add(Event event) {
    try {
      thread.execute(() -> tell(event));
    } catch (Error noThread) {
      Log.say(Level.WARNING, "an event cannot be told", noThread);
    }
  }

  private void tell(Event event) {
    try {
      observer.accept(event);
    } catch (Throwable theirs) {
      Log.say(Level.WARNING, "the observer threw", theirs);
    }
  }
}
