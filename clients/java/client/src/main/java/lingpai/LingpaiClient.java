package lingpai;

import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.logging.Level;

/**
 * One stream to the broker, and the tokens that it brought. A process needs one. Its methods may be called from any thread; its own threads are
 * daemons. It logs by java.util.logging as {@code lingpai}, which is in every Java from 8 on and which the bridges of slf4j and log4j take.
 */
public final class LingpaiClient implements AutoCloseable {
  /** The longest that close waits for threads, in milliseconds. */
  private static final long CLOSE_MS = 1_500;

  private static final long HOUR_NS = 3_600_000_000_000L;

  /** How a client is made. */
  public static final class Builder {
    final String target;
    final List<String> apps = new ArrayList<>();
    Duration startTimeout = Duration.ofSeconds(10);
    boolean startOptional;
    String ca;
    String cert;
    String certKey;
    transient String key;
    String keyFile;
    Supplier<String> keySupplier;
    boolean plaintext;
    Consumer<Event> observer = event -> {};
    Timing timing = new Timing();

    private Builder(String target) {
      this.target = target;
    }

    /**
     * An app to hold a token of: 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_". 1 to 10,000 apps are named.
     *
     * @param app the WeChat app id
     * @return this builder
     */
    public Builder app(String app) {
      apps.add(app);
      return this;
    }

    /**
     * Apps to hold tokens of, each as by {@link #app}.
     *
     * @param more the WeChat app ids
     * @return this builder
     */
    public Builder apps(Collection<String> more) {
      apps.addAll(more);
      return this;
    }

    /**
     * How long the start waits for a token of every app (R4): more than 0, at most a day; 10 seconds without it.
     *
     * @param timeout the longest wait
     * @return this builder
     */
    public Builder startTimeout(Duration timeout) {
      startTimeout = timeout;
      return this;
    }

    /**
     * The start returns at once; reads throw NoTokenException until a token is here.
     *
     * @return this builder
     */
    public Builder startOptional() {
      startOptional = true;
      return this;
    }

    /**
     * The path of a PEM file of who signs the broker's certificate, read at each attempt. Without it the JDK's CAs are trusted.
     *
     * @param path the path of the file
     * @return this builder
     */
    public Builder ca(String path) {
      ca = path;
      return this;
    }

    /**
     * The client's certificate and its private key (PKCS #8): paths of PEM files, read at each attempt. Both are given, or neither.
     *
     * @param certPath the path of the certificate, with its chain
     * @param keyPath the path of its private key
     * @return this builder
     */
    public Builder certificate(String certPath, String keyPath) {
      cert = certPath;
      certKey = keyPath;
      return this;
    }

    /**
     * An access key, or another bearer token (R18). One of key, keyFile and keySupplier is given, or none.
     *
     * @param value the key
     * @return this builder
     */
    public Builder key(String value) {
      key = value;
      return this;
    }

    /**
     * The path of a file with the key, read at each attempt; white space around it is cut off.
     *
     * @param path the path of the file
     * @return this builder
     */
    public Builder keyFile(String path) {
      keyFile = path;
      return this;
    }

    /**
     * Gives the key, asked at each attempt. An attempt waits for it, at most as long as for a call (10 seconds).
     *
     * @param supplier gives the key
     * @return this builder
     */
    public Builder keySupplier(Supplier<String> supplier) {
      keySupplier = supplier;
      return this;
    }

    /**
     * A key may go to another machine without TLS. Else it goes to loopback only.
     *
     * @return this builder
     */
    public Builder plaintext() {
      plaintext = true;
      return this;
    }

    /**
     * Told of what happens (R17), one event at a time, on a thread of its own, never of a token's value. It should not block: events wait in memory
     * meanwhile. What it throws is logged and swallowed.
     *
     * @param told the observer
     * @return this builder
     */
    public Builder observer(Consumer<Event> told) {
      observer = told;
      return this;
    }

    /**
     * The client's clocks: for tests. They are copied by build.
     *
     * @param clocks the clocks
     * @return this builder
     */
    public Builder timing(Timing clocks) {
      timing = clocks;
      return this;
    }

    /**
     * Makes the client, and waits until a token of every app is held. Throws ConfigurationException; RpcException at once where the broker does not
     * know an app or refuses the key; StartTimeoutException where a token is still missing. With startOptional it waits for nothing.
     *
     * @return the client; close it
     */
    public LingpaiClient build() {
      LingpaiClient client = new LingpaiClient(new Settings(this));
      if (startOptional) return client;
      try {
        client.waitForStart(startTimeout);
        return client;
      } catch (RuntimeException failed) {
        client.close();
        throw failed;
      }
    }
  }

  final Object lock = new Object();
  final Settings settings;
  final Teller told;
  private final Aside<InetAddress[]> addresses;
  private final Aside<String> keys;
  /** The observer's thread: it is there while there is something to tell. */
  private final ThreadPoolExecutor events;
  private final ScheduledThreadPoolExecutor timers;
  private final Map<String, TokenSource> sources = new LinkedHashMap<>();
  /** R10: apps that the broker does not know, and when each is asked for next, by System.nanoTime(): the soonest first. */
  private final Map<String, Long> unknown = new LinkedHashMap<>();
  private final Set<Connection> connections = new HashSet<>();
  private final List<Thread> threads = new ArrayList<>();
  private final long[] counts = new long[4];
  private volatile Thread eventsThread;
  private String state = "CONNECTING";
  private RpcException last;
  private RpcException fatal;
  private Connection stream;
  /** The stream that was ended for another to be opened in its place. */
  private Connection replaced;
  private boolean isProbing;
  /** Streams that failed in a row: the stream's thread alone counts them. */
  private int failures;

  /**
   * {@return a builder for a client}
   *
   * @param target the broker's HTTP port: {@code http://HOST:PORT} or {@code https://HOST:PORT}; without a scheme TLS is meant where a CA or a certificate is given
   */
  public static Builder builder(String target) {
    return new Builder(target);
  }

  private LingpaiClient(Settings settings) {
    this.settings = settings;
    events = new ThreadPoolExecutor(1, 1, 1, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), this::teller, new ThreadPoolExecutor.DiscardPolicy());
    events.allowCoreThreadTimeOut(true);
    told = new Teller(settings.observer, events);
    addresses = new Aside<>("lingpai-dns", () -> InetAddress.getAllByName(settings.host));
    keys = new Aside<>("lingpai-key", settings::bearer);
    for (String app : settings.apps) sources.put(app, new TokenSource(app, new Own()));
    timers = new ScheduledThreadPoolExecutor(1, work -> daemon("lingpai-timer", work), new ThreadPoolExecutor.DiscardPolicy());
    timers.setRemoveOnCancelPolicy(true);
    timers.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    spawn("lingpai-stream", this::run);
  }

  /** What the sources are given of this client. */
  private final class Own implements Keeper {
    @Override
    public Object lock() {
      return lock;
    }

    @Override
    public Map<String, Object> forceRefresh(String request) {
      synchronized (lock) {
        counts[3]++;
      }
      return unary("ForceRefresh", request);
    }

    @Override
    public void spawn(String thread, Runnable work) {
      LingpaiClient.this.spawn(thread, work);
    }

    @Override
    public Teller told() {
      return told;
    }

    @Override
    public Runnable after(long nanos, Runnable work) {
      Future<?> planned = timers.schedule(work, nanos, TimeUnit.NANOSECONDS);
      return () -> planned.cancel(false);
    }

    @Override
    public long nanoTime() {
      return System.nanoTime();
    }

    @Override
    public long retryCapMs() {
      return settings.timing.retryCap;
    }
  }

  /**
   * {@return an app's source} Throws IllegalArgumentException for an app that the client was not made with.
   *
   * @param app the WeChat app id
   */
  public TokenSource app(String app) {
    TokenSource source = sources.get(app);
    if (source == null) throw new IllegalArgumentException("the client was made without " + app + ": name it by app()");
    return source;
  }

  /** {@return how the client is doing} */
  public Stats stats() {
    synchronized (lock) {
      Map<String, Stats.App> apps = new LinkedHashMap<>();
      sources.forEach((app, source) -> apps.put(app, source.stats()));
      return new Stats(state, Arrays.copyOf(counts, counts.length), apps);
    }
  }

  /** Ends the stream, pauses, and calls under way; reads throw ClosedException from now on. May be called any number of times; takes at most 2 seconds. */
  @Override
  public void close() {
    boolean isFirst;
    List<Connection> open;
    List<Thread> running;
    synchronized (lock) {
      isFirst = !isClosed();
      state = "CLOSED";
      open = new ArrayList<>(connections);
      running = new ArrayList<>(threads);
      lock.notifyAll();
    }
    open.forEach(Connection::close);
    timers.shutdownNow();
    if (isFirst) {
      sources.values().forEach(TokenSource::close);
      told.add(Event.of(Event.Type.CLOSED));
      events.shutdown();
    }
    long end = System.nanoTime() + CLOSE_MS * 1_000_000;
    try {
      // An observer may close the client, or a handler of the log: a thread does not wait for itself.
      for (Thread thread : running)
        if (thread != Thread.currentThread()) thread.join(Math.max(1, (end - System.nanoTime()) / 1_000_000));
      timers.awaitTermination(Math.max(1, end - System.nanoTime()), TimeUnit.NANOSECONDS);
      if (eventsThread != Thread.currentThread()) events.awaitTermination(Math.max(1, end - System.nanoTime()), TimeUnit.NANOSECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void waitForStart(Duration timeout) {
    long end = System.nanoTime() + timeout.toNanos();
    synchronized (lock) {
      while (true) {
        if (fatal != null) throw fatal.again();
        List<String> missing = new ArrayList<>();
        for (TokenSource source : sources.values()) if (!source.isHeld()) missing.add(source.app());
        if (missing.isEmpty()) return;
        try {
          if (!Waiting.until(end, lock)) throw new StartTimeoutException(missing, timeout, last);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw new StartTimeoutException(missing, timeout, last);
        }
      }
    }
  }

  private static Thread daemon(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    return thread;
  }

  private Thread teller(Runnable work) {
    eventsThread = daemon("lingpai-events", work);
    return eventsThread;
  }

  /** Starts a thread that close waits for. */
  private void spawn(String name, Runnable work) {
    Thread thread =
        daemon(
            name,
            () -> {
              try {
                work.run();
              } finally {
                synchronized (lock) {
                  threads.remove(Thread.currentThread());
                }
              }
            });
    synchronized (lock) {
      if (isClosed()) return;
      thread.start();
      threads.add(thread); // under the lock, which the thread takes to leave the list again
    }
  }

  private boolean isClosed() {
    return state.equals("CLOSED");
  }

  private void run() {
    Backoff pauses = new Backoff(settings.timing, () -> ThreadLocalRandom.current().nextDouble());
    while (true) {
      try {
        List<String> apps = toWatch();
        if (apps.isEmpty()) return;
        pause(attempt(apps, pauses));
      } catch (RuntimeException | Error thrown) { // no memory, no thread: this one must go on
        pause(pauses.after(RpcException.of(thrown), -1));
      }
    }
  }

  /** The apps of the next stream, once there are some: all that the broker knows. The others are asked for meanwhile. None once the client is closed. */
  private List<String> toWatch() {
    List<String> apps = new ArrayList<>();
    synchronized (lock) {
      if (!isProbing && !unknown.isEmpty()) {
        spawn("lingpai-probe", this::probe);
        isProbing = true;
      }
      while (!isClosed() && unknown.size() == sources.size()) {
        try {
          Waiting.until(System.nanoTime() + HOUR_NS, lock);
        } catch (InterruptedException interrupted) {
          continue; // nobody else has this thread
        }
      }
      if (!isClosed()) for (String app : sources.keySet()) if (!unknown.containsKey(app)) apps.add(app);
    }
    return apps;
  }

  /** Waits so many milliseconds, or until the client is closed. */
  private void pause(long ms) {
    long end = System.nanoTime() + ms * 1_000_000;
    synchronized (lock) {
      try {
        while (!isClosed() && Waiting.until(end, lock)) continue;
      } catch (InterruptedException interrupted) {
        return; // nobody else has this thread
      }
    }
  }

  /** One stream, from its connection to its end. Returns the pause before the next, in milliseconds. */
  private long attempt(List<String> apps, Backoff pauses) {
    Connection connection = new Connection(settings, addresses, timers);
    long first = 0;
    try {
      synchronized (lock) {
        counts[0]++;
      }
      track(connection);
      String bearer = bearer(connection);
      connection.open();
      connection.within(settings.timing.silence);
      String request = requestFor(apps, app -> sources.get(app).known());
      synchronized (lock) {
        if (apps.size() < sources.size() - unknown.size()) return 0; // another app is known meanwhile
        stream = connection;
      }
      connection.stream("WatchToken", request, bearer);
      while (true) {
        Map<String, Object> message = connection.next();
        connection.within(settings.timing.silence);
        if (first == 0) {
          first = System.nanoTime();
          lives();
        }
        long goawayMs = take(message);
        if (goawayMs < 0) continue;
        pauses.ended((System.nanoTime() - first) / 1_000_000);
        return goawayMs;
      }
    } catch (RuntimeException | Error thrown) { // whatever it is, the next stream is tried
      synchronized (lock) {
        if (isClosed() || replaced == connection) return 0;
      }
      return failed(RpcException.of(thrown), pauses, apps, first == 0 ? -1 : (System.nanoTime() - first) / 1_000_000);
    } finally {
      untrack(connection);
      stale();
    }
  }

  /** The stream is lost. Comes before whoever observes is told of it, who may look at {@link #stats}. */
  private void stale() {
    synchronized (lock) {
      if (state.equals("LIVE")) state = "STALE";
    }
  }

  /** A WatchTokenRequest in JSON. known: the generation that is held of an app, or null. */
  static String requestFor(List<String> apps, Function<String, String> known) {
    List<String> ids = new ArrayList<>();
    List<String> generations = new ArrayList<>();
    for (String app : apps) {
      ids.add(Json.quoted(app));
      String generation = known.apply(app);
      if (generation != null) generations.add(Json.quoted(app) + ":\"" + generation + "\"");
    }
    return "{\"appIds\":[" + String.join(",", ids) + "],\"knownGenerations\":{" + String.join(",", generations) + "}}";
  }

  /** A GetRequest in JSON. */
  static String getRequest(String app) {
    return "{\"appId\":" + Json.quoted(app) + "}";
  }

  private void lives() {
    boolean wasLost;
    synchronized (lock) {
      wasLost = state.equals("STALE");
      if (!isClosed()) state = "LIVE";
      if (wasLost) counts[1]++;
    }
    if (failures > 0) Log.say(Level.INFO, wasLost ? "the stream to the broker is back" : "the stream to the broker is open");
    failures = 0;
    if (wasLost) told.add(Event.of(Event.Type.RECONNECT));
  }

  /** Takes one event. Returns the pause that a goaway asks for, in milliseconds; negative where it is none. */
  private long take(Map<String, Object> message) {
    Map<String, Object> news = Json.asObject(message.get("state"));
    TokenSource source = sources.get(Json.asString(news.get("appId")));
    if (source != null) source.take(news, Json.asString(message.get("serverTime")));
    TokenSource removed = sources.get(Json.asString(Json.asObject(message.get("removed")).get("appId")));
    if (removed != null) removed.drop(NoTokenException.Reason.REMOVED);
    if (!(message.get("goaway") instanceof Map)) return -1;
    long asked = durationMs(Json.asString(Json.asObject(message.get("goaway")).get("reconnectAfter")));
    long afterMs = Math.max(settings.timing.backoffFloor, Math.min(asked, settings.timing.goawayCap));
    synchronized (lock) {
      counts[2]++;
    }
    stale();
    told.add(Event.goaway(afterMs));
    return afterMs;
  }

  /** A duration of JSON ({@code 3.250s}) in milliseconds, rounded up; 0 where it is none. */
  static long durationMs(String duration) {
    String seconds = duration.replaceAll("s$", "");
    return seconds.matches("\\d{1,12}(\\.\\d{1,9})?") ? (long) Math.ceil(Double.parseDouble(seconds) * 1000) : 0;
  }

  /** What follows from the error of a stream of these apps. Returns the pause before the next, in milliseconds. */
  private long failed(RpcException error, Backoff pauses, List<String> apps, long lived) {
    boolean isUnknown = error.code().equals("NOT_FOUND") && apps.contains(error.app());
    stale();
    synchronized (lock) {
      last = error;
      if (Arrays.asList("NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED").contains(error.code())) fatal = error;
      lock.notifyAll();
    }
    if (isUnknown) {
      leaveOut(error);
      return 0;
    }
    long pauseMs = pauses.after(error, lived);
    failures++;
    if (Backoff.isSlow(error, lived)) log(Level.WARNING, "the stream to the broker failed, and somebody must mend it; the next try is in {0} ms: {1}", pauseMs, error);
    else if (failures % 10 == 3) log(Level.WARNING, "the stream to the broker fails again and again; the next try is in {0} ms: {1}", pauseMs, error);
    else if (lived >= 0) log(Level.INFO, "the stream to the broker is lost; the next try is in {0} ms: {1}", pauseMs, error);
    told.add(Event.error("watch", error, pauseMs));
    return pauseMs;
  }

  private static void log(Level level, String text, long ms, RpcException error) {
    Log.say(level, text, String.valueOf(ms), error.getMessage());
  }

  /** R10: goes on without the app that the broker does not know, and asks for it now and then. */
  private void leaveOut(RpcException error) {
    long retryMs = settings.timing.appRetry;
    log(Level.WARNING, "the broker does not know an app, which is left out; it is asked for again every {0} ms: {1}", retryMs, error);
    told.add(Event.error("watch", error, 0));
    synchronized (lock) {
      unknown.put(error.app(), System.nanoTime() + retryMs * 1_000_000);
    }
    sources.get(error.app()).drop(NoTokenException.Reason.NOT_FOUND);
  }

  /** Asks for the apps that the broker does not know, one after the other, until it knows them all. */
  private void probe() {
    for (TokenSource source = dueApp(); source != null; source = dueApp()) {
      try {
        Map<String, Object> answer = unary("Get", getRequest(source.app()));
        source.take(Json.asObject(answer.get("state")), Json.asString(answer.get("serverTime")));
      } catch (ClosedException closed) {
        return;
      } catch (RuntimeException | Error thrown) {
        RpcException error = RpcException.of(thrown);
        if (!error.knows(source.app())) { // else it has no token yet, which the stream tells
          if (!error.code().equals("NOT_FOUND")) told.add(Event.error("get", error, settings.timing.appRetry));
          continue;
        }
      }
      Connection open;
      synchronized (lock) {
        unknown.remove(source.app());
        replaced = open = stream;
        lock.notifyAll();
      }
      if (open != null) open.close();
    }
  }

  /** Waits until an app that the broker does not know is to be asked for. Null where there is none, and once the client is closed. */
  private TokenSource dueApp() {
    synchronized (lock) {
      try {
        while (!isClosed() && !unknown.isEmpty()) {
          Map.Entry<String, Long> soonest = unknown.entrySet().iterator().next();
          if (Waiting.until(soonest.getValue(), lock)) continue;
          String app = soonest.getKey();
          unknown.remove(app);
          unknown.put(app, System.nanoTime() + settings.timing.appRetry * 1_000_000);
          return sources.get(app);
        }
      } catch (InterruptedException interrupted) {
        // nobody else has this thread
      }
      isProbing = false;
      return null;
    }
  }

  /** One call on a connection of its own. Throws RpcException or ClosedException. */
  Map<String, Object> unary(String method, String request) {
    Connection connection = new Connection(settings, addresses, timers);
    try {
      track(connection);
      connection.limit(settings.timing.call);
      String bearer = bearer(connection);
      connection.open();
      connection.within(settings.timing.call);
      return connection.unary(method, request, bearer);
    } catch (RpcException failed) {
      synchronized (lock) {
        if (isClosed()) throw new ClosedException();
      }
      throw failed;
    } finally {
      untrack(connection);
    }
  }

  /** The key to show, or null. */
  private String bearer(Connection connection) {
    return settings.hasKey ? connection.bearer(keys) : null;
  }

  private void track(Connection connection) {
    synchronized (lock) {
      if (isClosed()) throw new ClosedException();
      connections.add(connection);
    }
  }

  private void untrack(Connection connection) {
    connection.end();
    synchronized (lock) {
      connections.remove(connection);
      if (stream == connection) stream = null;
    }
  }
}
