package lingpai;

import java.util.Map;

/** What a source needs of the client that it belongs to. */
interface Keeper {
  /** Guards every source of the client; notified when one changes. */
  Object lock();

  /** Sends a ForceRefreshRequest, in JSON. Throws RpcException or ClosedException. */
  Map<String, Object> forceRefresh(String request);

  /** Has work done at once, on a thread of its own of this name. Once the client is closed it may do nothing. */
  void spawn(String thread, Runnable work);

  /** Who is told of events. */
  Teller told();

  /** Has work done after so many nanoseconds, on a thread of its own. What it returns calls the work off. */
  Runnable after(long nanos, Runnable work);

  /** The monotonic clock, as System.nanoTime. */
  long nanoTime();

  /** R8: the longest that RetryInfo is believed, in milliseconds. */
  long retryCapMs();
}
