package lingpai;

import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** One app's token, always the newest that is known. Its methods may be called from any thread. */
public final class TokenSource implements Supplier<String> {
  /** A business call: it is given a token's value, and throws TokenRejectedException when WeChat refuses it. */
  public interface Call<T, E extends Exception> {
    /** Calls WeChat. */
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
     * {@code REFRESHED}, {@code JOINED}, {@code ALREADY_NEWER}, {@code STILL_VALID}, or {@code NEWER_HELD} where the broker was not asked, since a
     * newer token is held.
     */
    public String outcome() {
      return outcome;
    }

    /** The token to use now. */
    public Token token() {
      return token;
    }
  }

  private final String app;
  private final LingpaiClient client;
  /** A Token, or the exception that says why there is none: replaced as a whole. */
  private volatile Object held;

  private long generation;
  private ScheduledFuture<?> expiry;
  private final Map<Long, CompletableFuture<Report>> reports = new HashMap<>();
  private long refusedGeneration;
  private long refusedUntil;
  private RpcException refusedError;

  TokenSource(String app, LingpaiClient client) {
    this.app = app;
    this.client = client;
    this.held = new NoTokenException(app, NoTokenException.Reason.WAITING, "");
  }

  /** The WeChat app id. */
  public String app() {
    return app;
  }

  /** The newest token, from memory. Throws NoTokenException or ClosedException. */
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
   */
  public <T, E extends Exception> T call(Call<T, E> business) throws E {
    Token used = token();
    try {
      return business.with(used.value());
    } catch (TokenRejectedException refusal) {
      Token newest = used;
      try {
        Report report = report(used);
        if (!report.outcome().equals("STILL_VALID")) newest = report.token();
      } catch (LingpaiException failed) {
        // the refusal says more
      }
      Object now = held;
      if (now instanceof Token && ((Token) now).isNewerThan(newest)) newest = (Token) now;
      if (!newest.isNewerThan(used)) throw refusal;
      return business.with(newest.value());
    }
  }

  /**
   * Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report. Throws RpcException where the broker
   * cannot replace it now, COOLDOWN for one; the token is kept.
   */
  public Report report(Token refused) {
    CompletableFuture<Report> report;
    boolean isMine = false;
    synchronized (client.lock) {
      Object now = held;
      if (now instanceof Token && ((Token) now).isNewerThan(refused)) return new Report("NEWER_HELD", (Token) now);
      if (now instanceof ClosedException) throw new ClosedException();
      report = reports.get(refused.generation());
      if (report == null) {
        if (refusedError != null && refusedGeneration == refused.generation() && System.nanoTime() - refusedUntil < 0)
          throw refusedError;
        report = new CompletableFuture<>();
        reports.put(refused.generation(), report);
        isMine = true;
      }
    }
    if (isMine) forceRefresh(refused, report);
    try {
      return report.join();
    } catch (CompletionException failed) {
      throw failed.getCause() instanceof LingpaiException ? (LingpaiException) failed.getCause() : failed;
    }
  }

  /** Waits until a token of at least this generation (unsigned) is held, at most so long; null where it is not in time. Throws ClosedException. */
  public Token await(long generation, long timeout, TimeUnit unit) throws InterruptedException {
    long end = System.nanoTime() + unit.toNanos(timeout);
    synchronized (client.lock) {
      while (true) {
        Object now = held;
        if (now instanceof ClosedException) throw new ClosedException();
        if (now instanceof Token && Long.compareUnsigned(((Token) now).generation(), generation) >= 0) return (Token) now;
        long leftNs = end - System.nanoTime();
        if (leftNs <= 0) return null;
        TimeUnit.NANOSECONDS.timedWait(client.lock, leftNs + 1_000_000);
      }
    }
  }

  private LingpaiException fresh(LingpaiException now) {
    // Made where it is read, so that its stack says who read.
    if (!(now instanceof NoTokenException)) return new ClosedException();
    NoTokenException none = (NoTokenException) now;
    return new NoTokenException(app, none.reason(), words(none));
  }

  private static String words(NoTokenException none) {
    int comma = none.getMessage().indexOf(", ");
    return comma < 0 ? "" : none.getMessage().substring(comma + 2);
  }

  private void forceRefresh(Token refused, CompletableFuture<Report> report) {
    Report result = null;
    Throwable failure = null;
    try {
      String request = "{\"appId\":" + Json.quoted(app) + ",\"rejectedToken\":" + Json.quoted(refused.value()) + "}";
      Map<String, Object> answer = client.unary("ForceRefresh", request);
      String outcome = Json.asString(answer.get("outcome")).replace("FORCE_REFRESH_OUTCOME_", "");
      client.tell(Event.report(app, outcome));
      take(Json.asObject(answer.get("state")), Json.asString(answer.get("serverTime")));
      result = new Report(outcome.isEmpty() ? "UNKNOWN" : outcome, token());
    } catch (RpcException error) {
      failure = error;
      client.tell(Event.error("report", error, 0));
    } catch (RuntimeException | Error error) {
      failure = error;
    }
    synchronized (client.lock) {
      reports.remove(refused.generation());
      if (failure instanceof RpcException && ((RpcException) failure).retryAfterMs() > 0) {
        refusedError = (RpcException) failure;
        refusedGeneration = refused.generation();
        refusedUntil = System.nanoTime() + Math.min(refusedError.retryAfterMs(), client.settings.timing.retryCap) * 1_000_000;
      }
    }
    if (failure == null) report.complete(result);
    else report.completeExceptionally(failure);
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
    if (!state.isEmpty()) keep(state, serverTime);
    client.told.tell();
  }

  private void keep(Map<String, Object> state, String serverTime) {
    long next = unsigned(Json.asString(state.get("generation")));
    String words = Json.asString(state.get("statusReason"));
    synchronized (client.lock) {
      if (Long.compareUnsigned(next, generation) < 0 || held instanceof ClosedException) return;
      generation = next;
      stopExpiry();
      Map<String, Object> current = Json.asObject(state.get("current"));
      if (current.isEmpty()) {
        Object status = state.get("status");
        boolean isOver = "TOKEN_STATUS_EXPIRED".equals(status) || Double.valueOf(4).equals(status);
        set(new NoTokenException(app, isOver ? NoTokenException.Reason.EXPIRED : NoTokenException.Reason.PENDING, words));
        return;
      }
      Long end = nanos(Json.asString(current.get("expireTime")));
      Long now = nanos(serverTime);
      if (end != null && now != null && end <= now) {
        set(new NoTokenException(app, NoTokenException.Reason.EXPIRED, words));
        return;
      }
      Map<String, Object> older = Json.asObject(state.get("previous"));
      Token token = tokenOf(current, next, older.isEmpty() ? null : tokenOf(older, next - 1, null));
      set(token);
      if (end != null && now != null) expiry = client.timers.schedule(() -> expire(token), end - now, TimeUnit.NANOSECONDS);
    }
  }

  /** There is no token, for a reason that is not a state. Once the app was removed, any generation is taken. */
  void drop(NoTokenException.Reason reason) {
    synchronized (client.lock) {
      if (held instanceof ClosedException) return;
      if (reason == NoTokenException.Reason.REMOVED) generation = 0;
      stopExpiry();
      set(new NoTokenException(app, reason, ""));
    }
    client.told.tell();
  }

  void close() {
    synchronized (client.lock) {
      stopExpiry();
      held = new ClosedException();
      client.lock.notifyAll();
    }
  }

  private void expire(Token token) {
    synchronized (client.lock) {
      if (held == token) set(new NoTokenException(app, NoTokenException.Reason.EXPIRED, ""));
    }
    client.told.tell();
  }

  private void stopExpiry() {
    if (expiry != null) expiry.cancel(false);
    expiry = null;
  }

  private void set(Object next) {
    Stats.App before = stats();
    held = next;
    Stats.App now = stats();
    if (now.isAs(before)) return;
    client.told.add(Event.state(app, now));
    client.lock.notifyAll();
  }

  private static Token tokenOf(Map<String, Object> token, long generation, Token previous) {
    String value = Json.asString(token.get("value"));
    if (value.isEmpty() || value.length() > 2048)
      throw new RpcException("INTERNAL", "", "a token of " + value.length() + " characters", "", 0);
    return new Token(value, Json.asString(token.get("id")), generation, previous);
  }

  private static long unsigned(String number) {
    try {
      return number.isEmpty() ? 0 : Long.parseUnsignedLong(number);
    } catch (NumberFormatException wrong) {
      throw new RpcException("INTERNAL", "", "a generation that is no number of 64 bits", "", 0);
    }
  }

  private static Long nanos(String time) {
    try {
      Instant at = Instant.parse(time);
      return Math.addExact(Math.multiplyExact(at.getEpochSecond(), 1_000_000_000L), at.getNano());
    } catch (DateTimeParseException | ArithmeticException none) {
      return null;
    }
  }
}
