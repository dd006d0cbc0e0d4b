package lingpai;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/**
 * Work that may block for as long as it likes (a look-up of the JDK's, a user's function), done on a thread of its own: it can neither be bounded nor
 * interrupted, so that whoever waits must be able to leave it. It is under way at most once, however many wait.
 */
final class Aside<T> {
  private final String thread;
  private final Callable<T> work;
  private CompletableFuture<T> flight;

  /** thread: the name of the threads that do it. */
  Aside(String thread, Callable<T> work) {
    this.thread = thread;
    this.work = work;
  }

  /** What comes of it, some day. */
  synchronized CompletableFuture<T> result() {
    if (flight == null || flight.isDone()) {
      CompletableFuture<T> mine = new CompletableFuture<>();
      Thread doing = new Thread(() -> complete(mine), thread);
      doing.setDaemon(true);
      doing.start();
      flight = mine;
    }
    return flight;
  }

  private void complete(CompletableFuture<T> result) {
    try {
      result.complete(work.call());
    } catch (Throwable none) {
      result.completeExceptionally(none);
    }
  }
}
