package lingpai;

import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** One app's token, always the newest that is known. Its methods may be called from any thread. */
public final class TokenSource implements Supplier<String> {
  /**
   * A business call: it is given a token's value, and throws TokenRejectedException when WeChat refuses it.
   *
   * @param <T> what the call gives
   * @param <E> what else the call may throw
   */
  public interface Call<T, E extends Exception> {
    /**
     * Calls WeChat.
     *
     * @param token the token's value
     * @return what the call gives
     * @throws E what the call throws
     */
    T with(String token) throws E;
  }

  /** What a report came to. */
  public static final class Report {
    private final String outcome;
    private final Token token;

    Report(String outcome, Token token) {
      this.outcome = outcome;
      this.token = token;
    }

    /**
     * {@return {@code REFRESHED}, {@code JOINED}, {@code ALREADY_NEWER}, {@code STILL_VALID}, or {@code NEWER_HELD} where the broker was not asked,
     * since a newer token is held}
     */
    public String outcome() {
      return outcome;
    }

    /** {@return the token to use now} */
    public Token token() {
      return token;
    }
  }

  /** Nanoseconds: 146 years. */
  private static final long FOREVER = Long.MAX_VALUE / 2;

  private final String app;
  private final Keeper keeper;
  private final Object lock;
  /** A Token, or the exception that says why there is none: replaced as a whole. */
  private volatile Object held;

  private long generation;
  private Runnable stopExpiry = () -> {};
  private final Map<Long, CompletableFuture<Report>> reports = new HashMap<>();
  private long refusedGeneration;
  private long refusedUntil;
  private RpcException refusedError;

  TokenSource(String app, Keeper keeper) {
    this.app = app;
    this.keeper = keeper;
    this.lock = keeper.lock();
    this.held = new NoTokenException(app, NoTokenException.Reason.WAITING, "");
  }

  /**
   * {@return a source for tests, which needs no broker (R19)} It holds the first of these values; a report puts the next in its place (REFRESHED),
   * and of the last one says STILL_VALID. {@link lingpai.testing.FakeBroker} is for tests of more. Throws IllegalArgumentException without a value.
   *
   * @param app the WeChat app id
   * @param values the values, one after the other
   */
  public static TokenSource fixed(String app, String... values) {
    if (values.length == 0) throw new IllegalArgumentException("a fixed source of " + app + " has no value: give one");
    FixedKeeper keeper = new FixedKeeper(values);
    TokenSource source = new TokenSource(app, keeper);
    source.take(keeper.state(), "");
    return source;
  }

  /** {@return the WeChat app id} */
  public String app() {
    return app;
  }

  /** {@return the newest token, from memory} Throws NoTokenException or ClosedException. */
  public Token token() {
    Object now = held;
    if (now instanceof Token) return (Token) now;
    throw fresh((LingpaiException) now);
  }

  /** The newest token's value, from memory. Throws NoTokenException or ClosedException. */
  @Override
  public String get() {
    return token().value();
  }

  /**
   * Makes a business call with the newest token. If it throws TokenRejectedException, the token is reported to the broker, and with a newer one the
   * call is made once more. Where none came (WeChat accepts the token, or the broker cannot replace it now) its own exception is thrown. It is made at most
   * twice. Throws NoTokenException or ClosedException where there is no token.
   *
   * @param <T> what the call gives
   * @param <E> what else the call may throw
   * @param business the call: it is given the value of the token to use
   * @return what the call gives
   * @throws E what the call throws
   */
  public <T, E extends Exception> T call(Call<T, E> business) throws E {
    Token used = token();
    try {
      return business.with(used.value());
    } catch (TokenRejectedException refusal) {
      try {
        report(used);
      } catch (LingpaiException failed) {
        // the refusal says more
      }
      Object newest = held;
      if (!(newest instanceof Token) || !((Token) newest).isNewerThan(used)) throw refusal;
      return business.with(((Token) newest).value());
    }
  }

  /**
   * Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report. Throws RpcException where the broker
   * cannot replace it now, COOLDOWN for one; the token is kept.
   *
   * @param refused the token that WeChat refused
   * @return what the report came to
   */
  public Report report(Token refused) {
    CompletableFuture<Report> report = new CompletableFuture<>();
    CompletableFuture<Report> open;
    synchronized (lock) {
      Object now = held;
      if (now instanceof Token && ((Token) now).isNewerThan(refused)) return new Report("NEWER_HELD", (Token) now);
      if (now instanceof ClosedException) throw new ClosedException();
      open = reports.get(refused.generation());
      if (open == null) {
        if (refusedError != null && refusedGeneration == refused.generation() && keeper.nanoTime() - refusedUntil < 0)
          throw refusedError.again();
        reports.put(refused.generation(), report);
      }
    }
    if (open == null) {
      try {
        keeper.spawn("lingpai-report", () -> forceRefresh(refused, report)); // not on this thread, which may be interrupted: others wait for it too
      } catch (Error noThread) {
        settle(refused, report, null, RpcException.of(noThread));
      }
    }
    return resultOf(open == null ? report : open);
  }

  private Report resultOf(CompletableFuture<Report> report) {
    try {
      return report.get();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new RpcException("CANCELLED", "", "the thread was interrupted while a token was reported", app, 0);
    } catch (ExecutionException failed) {
      // Made here, so that its stack says who reported.
      if (failed.getCause() instanceof RpcException) throw ((RpcException) failed.getCause()).again();
      throw fresh((LingpaiException) failed.getCause());
    }
  }

  /**
   * Waits until a token of at least this generation (unsigned) is held, at most so long; null where it is not in time. Throws ClosedException.
   *
   * @param generation the least generation, unsigned
   * @param timeout the longest wait
   * @param unit of the timeout
   * @return the token, or null where it is not in time
   * @throws InterruptedException where the thread is interrupted
   */
  public Token await(long generation, long timeout, TimeUnit unit) throws InterruptedException {
    long end = System.nanoTime() + unit.toNanos(timeout);
    synchronized (lock) {
      while (true) {
        Object now = held;
        if (now instanceof ClosedException) throw new ClosedException();
        if (now instanceof Token && Long.compareUnsigned(((Token) now).generation(), generation) >= 0) return (Token) now;
        if (!Waiting.until(end, lock)) return null;
      }
    }
  }

  private LingpaiException fresh(LingpaiException now) {
    // Made where it is read, so that its stack says who read.
    if (!(now instanceof NoTokenException)) return new ClosedException();
    NoTokenException none = (NoTokenException) now;
    return new NoTokenException(app, none.reason(), none.words());
  }

  private void forceRefresh(Token refused, CompletableFuture<Report> report) {
    try {
      String request = "{\"appId\":" + Json.quoted(app) + ",\"rejectedToken\":" + Json.quoted(refused.value()) + "}";
      Map<String, Object> answer = keeper.forceRefresh(request);
      String named = Json.asString(answer.get("outcome")).replace("FORCE_REFRESH_OUTCOME_", "");
      String outcome = named.isEmpty() ? "UNKNOWN" : named;
      take(Json.asObject(answer.get("state")), Json.asString(answer.get("serverTime")));
      settle(refused, report, Event.report(app, outcome), new Report(outcome, token()));
    } catch (NoTokenException | ClosedException none) {
      settle(refused, report, null, none);
    } catch (RuntimeException | Error thrown) {
      RpcException error = RpcException.of(thrown);
      settle(refused, report, Event.error("report", error, 0), error);
    }
  }

  /** A report is no longer open when it is told of: an observer may report again. result: a Report, or a LingpaiException. event: may be null. */
  private void settle(Token refused, CompletableFuture<Report> report, Event event, Object result) {
    synchronized (lock) {
      reports.remove(refused.generation(), report);
      if (result instanceof RpcException && ((RpcException) result).retryAfterMs() > 0) {
        refusedError = (RpcException) result;
        refusedGeneration = refused.generation();
        refusedUntil = keeper.nanoTime() + Math.min(refusedError.retryAfterMs(), keeper.retryCapMs()) * 1_000_000;
      }
    }
    if (event != null) keeper.told().add(event);
    if (result instanceof Report) report.complete((Report) result);
    else report.completeExceptionally((LingpaiException) result);
  }

  boolean isHeld() {
    return held instanceof Token;
  }

  /** The generation of the token held, as a decimal number; null where none is. */
  String known() {
    Object now = held;
    return now instanceof Token ? Long.toUnsignedString(((Token) now).generation()) : null;
  }

  Stats.App stats() {
    Object now = held;
    if (now instanceof Token) return new Stats.App("HELD", ((Token) now).generation(), ((Token) now).id(), "");
    if (!(now instanceof NoTokenException)) return new Stats.App("NONE", 0, "", "");
    NoTokenException.Reason reason = ((NoTokenException) now).reason();
    boolean isWaiting = reason == NoTokenException.Reason.WAITING;
    return new Stats.App(isWaiting ? "WAITING" : "NONE", 0, "", reason.name());
  }

  /** Takes a state that the broker told, unless it is older than what is held. */
  void take(Map<String, Object> state, String serverTime) {
    if (state.isEmpty()) return;
    long next = unsigned(Json.asString(state.get("generation")));
    Map<String, Object> current = Json.asObject(state.get("current"));
    Map<String, Object> older = Json.asObject(state.get("previous"));
    String words = Json.asString(state.get("statusReason"));
    Object status = state.get("status");
    boolean isOver = "TOKEN_STATUS_EXPIRED".equals(status) || Double.valueOf(4).equals(status);
    boolean isHeld = state.get("current") instanceof Map;
    long life = !isHeld ? 0 : between(serverTime, Json.asString(current.get("expireTime")));
    long grace = between(serverTime, Json.asString(older.get("expireTime")));
    // Made before anything changes: a value that is none leaves what is held as it is.
    Token previous = !(state.get("previous") instanceof Map) ? null : new Token(valueOf(older), 0, null, 0);
    Token token = !isHeld ? null : new Token(valueOf(current), next, previous, keeper.nanoTime() + grace);
    synchronized (lock) {
      if (Long.compareUnsigned(next, generation) < 0 || held instanceof ClosedException) return;
      generation = next;
      stopExpiry.run();
      if (token == null || life <= 0) {
        boolean isPending = token == null && !isOver;
        set(new NoTokenException(app, isPending ? NoTokenException.Reason.PENDING : NoTokenException.Reason.EXPIRED, words));
        return;
      }
      set(token);
      if (life < FOREVER) stopExpiry = keeper.after(life, () -> expire(token));
    }
  }

  /** There is no token, for a reason that is not a state. Once the app was removed, any generation is taken. */
  void drop(NoTokenException.Reason reason) {
    synchronized (lock) {
      if (held instanceof ClosedException) return;
      if (reason == NoTokenException.Reason.REMOVED) generation = 0;
      stopExpiry.run();
      set(new NoTokenException(app, reason, ""));
    }
  }

  void close() {
    synchronized (lock) {
      stopExpiry.run();
      held = new ClosedException();
      reports.values().forEach(report -> report.completeExceptionally(new ClosedException()));
      lock.notifyAll();
    }
  }

  private void expire(Token token) {
    synchronized (lock) {
      if (held == token) set(new NoTokenException(app, NoTokenException.Reason.EXPIRED, ""));
    }
  }

  private void set(Object next) {
    Stats.App before = stats();
    held = next;
    Stats.App now = stats();
    if (now.isAs(before)) return;
    keeper.told().add(Event.state(app, now));
    lock.notifyAll();
  }

  private static String valueOf(Map<String, Object> token) {
    String value = Json.asString(token.get("value"));
    if (value.isEmpty() || value.length() > 2048)
      throw new RpcException("INTERNAL", "", "a token of " + value.length() + " characters", "", 0);
    return value;
  }

  private static long unsigned(String number) {
    try {
      return number.isEmpty() ? 0 : Long.parseUnsignedLong(number);
    } catch (NumberFormatException wrong) {
      throw new RpcException("INTERNAL", "", "a generation that is no number of 64 bits", "", 0);
    }
  }

  /** Nanoseconds from one time, or from now where it is not said, to another, not less than 0; FOREVER where that one is not said or not readable. */
  private static long between(String from, String to) {
    try {
      Duration life = Duration.between(from.isEmpty() ? Instant.now() : Instant.parse(from), Instant.parse(to));
      return life.isNegative() ? 0 : life.getSeconds() > FOREVER / 1_000_000_000 ? FOREVER : life.toNanos();
    } catch (DateTimeParseException none) {
      if (!to.isEmpty()) throw new RpcException("INTERNAL", "", "a time that cannot be read", "", 0);
      return FOREVER;
    }
  }
}
