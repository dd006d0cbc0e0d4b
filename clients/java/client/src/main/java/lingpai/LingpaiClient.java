package lingpai;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * One stream to the broker, and the tokens that it brought. A process needs one. Its methods may be called from any thread; its own threads are
 * daemons. It logs by java.util.logging as {@code lingpai}, which is in every Java from 8 on and which the bridges of slf4j and log4j take.
 */
public final class LingpaiClient implements AutoCloseable {
  private static final Logger LOG = Logger.getLogger("lingpai");
  /** The longest that close waits for threads, in milliseconds. */
  private static final long CLOSE_MS = 1_500;

  /** How a client is made. */
  public static final class Builder {
    final String target;
    final List<String> apps = new ArrayList<>();
    Duration startTimeout = Duration.ofSeconds(10);
    boolean startOptional;
    String ca;
    String cert;
    String certKey;
    String key;
    String keyFile;
    Supplier<String> keySupplier;
    boolean plaintext;
    Consumer<Event> observer = event -> {};
    Timing timing = new Timing();

    private Builder(String target) {
      this.target = target;
    }

    /** An app to hold a token of: 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_". 1 to 10,000 apps are named. */
    public Builder app(String app) {
      apps.add(app);
      return this;
    }

    /** Apps to hold tokens of. */
    public Builder apps(Collection<String> more) {
      apps.addAll(more);
      return this;
    }

    /** How long the start waits for a token of every app: 10 seconds. */
    public Builder startTimeout(Duration timeout) {
      startTimeout = timeout;
      return this;
    }

    /** The start returns at once; reads throw NoTokenException until a token is here. */
    public Builder startOptional() {
      startOptional = true;
      return this;
    }

    /** The path of a PEM file of who signs the broker's certificate, read at each attempt. Without it the JDK's CAs are trusted. */
    public Builder ca(String path) {
      ca = path;
      return this;
    }

    /** The client's certificate and its private key (PKCS #8): paths of PEM files, read at each attempt. */
    public Builder certificate(String certPath, String keyPath) {
      cert = certPath;
      certKey = keyPath;
      return this;
    }

    /** An access key, or another bearer token. */
    public Builder key(String value) {
      key = value;
      return this;
    }

    /** The path of a file with it, read at each attempt. */
    public Builder keyFile(String path) {
      keyFile = path;
      return this;
    }

    /** Gives it, asked at each attempt. */
    public Builder keySupplier(Supplier<String> supplier) {
      keySupplier = supplier;
      return this;
    }

    /** A key may go to another machine without TLS. Else it goes to loopback only. */
    public Builder plaintext() {
      plaintext = true;
      return this;
    }

    /** Told of what happens, never of a token's value. It must not block; what it throws is swallowed. */
    public Builder observer(Consumer<Event> told) {
      observer = told;
      return this;
    }

    /** The client's clocks: for tests. */
    public Builder timing(Timing clocks) {
      timing = clocks;
      return this;
    }

    /**
     * Makes the client, and waits until a token of every app is held. Throws ConfigurationException; RpcException at once where the broker does not
     * know an app or refuses the key; StartTimeoutException where a token is still missing. With startOptional it waits for nothing.
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
  final ScheduledThreadPoolExecutor timers;
  private final Map<String, TokenSource> sources = new LinkedHashMap<>();
  private final Set<String> unknown = new HashSet<>();
  private final Set<Connection> connections = new HashSet<>();
  private final List<Thread> threads = new ArrayList<>();
  private final long[] counts = new long[4];
  private String state = "CONNECTING";
  private RpcException last;
  private RpcException fatal;
  private Connection stream;
  private boolean isReopened;
  private int failures;

  /** A builder for a client. target: the broker's HTTP port, {@code http://HOST:PORT} or {@code https://HOST:PORT}. */
  public static Builder builder(String target) {
    return new Builder(target);
  }

  private LingpaiClient(Settings settings) {
    this.settings = settings;
    told = new Teller(settings.observer);
    for (String app : settings.apps) sources.put(app, new TokenSource(app, this));
    timers = new ScheduledThreadPoolExecutor(1, work -> daemon("lingpai-expiry", work));
    timers.setRemoveOnCancelPolicy(true);
    timers.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    spawn("lingpai-stream", this::run);
  }

  /** An app's source. Throws IllegalArgumentException for an app that the client was not made with. */
  public TokenSource app(String app) {
    TokenSource source = sources.get(app);
    if (source == null) throw new IllegalArgumentException("the client was made without " + app + ": name it by app()");
    return source;
  }

  /** How the client is doing. */
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
      tell(Event.of(Event.Type.CLOSED));
    }
    long end = System.nanoTime() + CLOSE_MS * 1_000_000;
    try {
      for (Thread thread : running)
        if (thread != Thread.currentThread()) thread.join(Math.max(1, (end - System.nanoTime()) / 1_000_000));
      timers.awaitTermination(Math.max(1, end - System.nanoTime()), TimeUnit.NANOSECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void waitForStart(Duration timeout) {
    long end = System.nanoTime() + timeout.toNanos();
    synchronized (lock) {
      while (true) {
        if (fatal != null) throw fatal;
        List<String> missing = new ArrayList<>();
        for (TokenSource source : sources.values()) if (!source.isHeld()) missing.add(source.app());
        if (missing.isEmpty()) return;
        long left = end - System.nanoTime();
        if (left <= 0) throw new StartTimeoutException(missing, timeout, last);
        try {
          TimeUnit.NANOSECONDS.timedWait(lock, left + 1_000_000);
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
      threads.add(thread);
      thread.start();
    }
  }

  private boolean isClosed() {
    return state.equals("CLOSED");
  }

  private void run() {
    Backoff pauses = new Backoff(settings.timing, () -> ThreadLocalRandom.current().nextDouble());
    while (true) {
      List<String> apps = new ArrayList<>();
      synchronized (lock) {
        if (isClosed()) return;
        for (String app : sources.keySet()) if (!unknown.contains(app)) apps.add(app);
      }
      if (apps.isEmpty()) pause(Long.MAX_VALUE, unknown.size());
      else pause(attempt(apps, pauses), -1);
    }
  }

  /** Waits so many milliseconds, until the client is closed, or while so many apps are unknown (negative: whatever their number). */
  private void pause(long ms, int whileUnknown) {
    long end = ms > Long.MAX_VALUE / 2_000_000 ? Long.MAX_VALUE : System.nanoTime() + ms * 1_000_000;
    synchronized (lock) {
      try {
        while (!isClosed() && (whileUnknown < 0 || unknown.size() >= whileUnknown)) {
          long left = end == Long.MAX_VALUE ? 3_600_000_000_000L : end - System.nanoTime();
          if (left <= 0) return;
          TimeUnit.NANOSECONDS.timedWait(lock, left + 1_000_000);
        }
      } catch (InterruptedException interrupted) {
        return; // nobody else has this thread
      }
    }
  }

  /** One stream, from its connection to its end. Returns the pause before the next, in milliseconds. */
  private long attempt(List<String> apps, Backoff pauses) {
    Connection connection = new Connection(settings);
    long first = 0;
    try {
      synchronized (lock) {
        counts[0]++;
      }
      track(connection);
      connection.within(settings.timing.silence);
      String bearer = settings.bearer();
      connection.open();
      String request = requestFor(apps);
      synchronized (lock) {
        if (apps.size() < sources.size() - unknown.size()) return 0; // another app is known meanwhile
        stream = connection;
        isReopened = false;
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
    } catch (RuntimeException thrown) {
      synchronized (lock) {
        if (isClosed() || isReopened) return 0;
      }
      RpcException error =
          thrown instanceof RpcException ? (RpcException) thrown : new RpcException("UNKNOWN", "", thrown.toString(), "", 0);
      return failed(error, pauses, first == 0 ? -1 : (System.nanoTime() - first) / 1_000_000);
    } finally {
      untrack(connection);
      synchronized (lock) {
        if (state.equals("LIVE")) state = "STALE";
      }
    }
  }

  private String requestFor(List<String> apps) {
    List<String> ids = new ArrayList<>();
    List<String> known = new ArrayList<>();
    for (String app : apps) {
      ids.add(Json.quoted(app));
      String generation = sources.get(app).known();
      if (generation != null) known.add(Json.quoted(app) + ":\"" + generation + "\"");
    }
    return "{\"appIds\":[" + String.join(",", ids) + "],\"knownGenerations\":{" + String.join(",", known) + "}}";
  }

  private void lives() {
    boolean wasLost;
    synchronized (lock) {
      wasLost = state.equals("STALE");
      if (!isClosed()) state = "LIVE";
      if (wasLost) counts[1]++;
    }
    if (failures > 0) LOG.info("the stream to the broker is back");
    failures = 0;
    if (wasLost) tell(Event.of(Event.Type.RECONNECT));
  }

  /** Takes one event. Returns the pause that a goaway asks for, in milliseconds; negative where it is none. */
  private long take(Map<String, Object> message) {
    Map<String, Object> told = Json.asObject(message.get("state"));
    TokenSource source = sources.get(Json.asString(told.get("appId")));
    if (source != null) source.take(told, Json.asString(message.get("serverTime")));
    TokenSource removed = sources.get(Json.asString(Json.asObject(message.get("removed")).get("appId")));
    if (removed != null) removed.drop(NoTokenException.Reason.REMOVED);
    if (!(message.get("goaway") instanceof Map)) return -1;
    String asked = Json.asString(Json.asObject(message.get("goaway")).get("reconnectAfter")).replaceAll("s$", "");
    double seconds = asked.matches("\\d{1,12}(\\.\\d{1,9})?") ? Double.parseDouble(asked) : 0;
    long afterMs = Math.max(settings.timing.backoffFloor, (long) Math.min(Math.ceil(seconds * 1000), settings.timing.goawayCap));
    synchronized (lock) {
      counts[2]++;
    }
    tell(Event.goaway(afterMs));
    return afterMs;
  }

  /** What follows from a stream's error. Returns the pause before the next, in milliseconds. */
  private long failed(RpcException error, Backoff pauses, long lived) {
    TokenSource missing = error.code().equals("NOT_FOUND") ? sources.get(error.app()) : null;
    synchronized (lock) {
      last = error;
      if (Arrays.asList("NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED").contains(error.code())) fatal = error;
      if (missing != null) unknown.add(missing.app());
      lock.notifyAll();
    }
    long pauseMs = missing == null ? pauses.after(error, lived) : 0;
    failures++;
    if (error.needsOperator() || failures % 10 == 3)
      LOG.log(Level.WARNING, "the stream to the broker failed, the next try is in {0} ms: {1}", new Object[] {pauseMs, error.getMessage()});
    tell(Event.error("watch", error, pauseMs));
    if (missing != null) {
      missing.drop(NoTokenException.Reason.NOT_FOUND);
      spawn("lingpai-probe", () -> probe(missing));
    }
    return pauseMs;
  }

  /** Asks for an app that the broker does not know, until it does. */
  private void probe(TokenSource source) {
    while (true) {
      pause(settings.timing.appRetry, -1);
      synchronized (lock) {
        if (isClosed()) return;
      }
      try {
        Map<String, Object> answer = unary("Get", "{\"appId\":" + Json.quoted(source.app()) + "}");
        source.take(Json.asObject(answer.get("state")), Json.asString(answer.get("serverTime")));
        break;
      } catch (RpcException error) {
        if (error.knows(source.app())) break; // it has no token yet, which the stream tells
        if (!error.code().equals("NOT_FOUND")) tell(Event.error("get", error, settings.timing.appRetry));
      } catch (ClosedException closed) {
        return;
      }
    }
    Connection open;
    synchronized (lock) {
      unknown.remove(source.app());
      isReopened = true;
      open = stream;
      lock.notifyAll();
    }
    if (open != null) open.close();
  }

  /** One call on a connection of its own. Throws RpcException or ClosedException. */
  Map<String, Object> unary(String method, String request) {
    Connection connection = new Connection(settings);
    try {
      if (method.equals("ForceRefresh"))
        synchronized (lock) {
          counts[3]++;
        }
      track(connection);
      String bearer = settings.bearer();
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

  private void track(Connection connection) {
    synchronized (lock) {
      if (isClosed()) throw new ClosedException();
      connections.add(connection);
    }
  }

  private void untrack(Connection connection) {
    connection.close();
    synchronized (lock) {
      connections.remove(connection);
      if (stream == connection) stream = null;
    }
  }

  void tell(Event event) {
    told.add(event);
    told.tell();
  }
}
