package lingpai;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.concurrent.CompletableFuture;

/**
 * Looks up a host's addresses on a thread of its own: the JDK's look-up can neither be bounded nor interrupted, so that whoever waits must be able to
 * leave it. At most one is under way, however many wait.
 */
final class Resolver {
  /** A look-up that may block. */
  interface Lookup {
    InetAddress[] of(String host) throws UnknownHostException;
  }

  private final String host;
  private final Lookup lookup;
  private CompletableFuture<InetAddress[]> flight;

  Resolver(String host, Lookup lookup) {
    this.host = host;
    this.lookup = lookup;
  }

  /** The addresses, some day; or an UnknownHostException. */
  synchronized CompletableFuture<InetAddress[]> addresses() {
    if (flight == null || flight.isDone()) {
      CompletableFuture<InetAddress[]> mine = new CompletableFuture<>();
      Thread thread = new Thread(() -> look(mine), "lingpai-dns");
      thread.setDaemon(true);
      thread.start();
      flight = mine;
    }
    return flight;
  }

  private void look(CompletableFuture<InetAddress[]> found) {
    try {
      found.complete(lookup.of(host));
    } catch (UnknownHostException | RuntimeException | Error none) {
      found.completeExceptionally(none);
    }
  }
}
