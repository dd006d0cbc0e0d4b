package lingpai;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.function.Consumer;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Tells events in their order, one at a time, and never under a lock of the client's: the observer may use the client. */
final class Teller {
  private static final Logger LOG = Logger.getLogger("lingpai");

  private final Consumer<Event> observer;
  private final Queue<Event> waiting = new ArrayDeque<>();
  private boolean isTelling;

  Teller(Consumer<Event> observer) {
    this.observer = observer;
  }

  /** Has an event told by the next tell. */
  synchronized void add(Event event) {
    waiting.add(event);
  }

  /** Tells what waits, unless another thread does. */
  void tell() {
    for (Event event = first(); event != null; event = next()) {
      try {
        observer.accept(event);
      } catch (Throwable theirs) {
        LOG.log(Level.WARNING, "the observer threw", theirs);
      }
    }
  }

  private synchronized Event first() {
    if (isTelling) return null;
    isTelling = true;
    return next();
  }

  private synchronized Event next() {
    Event event = waiting.poll();
    if (event == null) isTelling = false;
    return event;
  }
}
