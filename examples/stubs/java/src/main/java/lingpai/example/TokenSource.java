package lingpai.example;

import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.math.BigInteger;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import lingpai.v1.ForceRefreshOutcome;
import lingpai.v1.ForceRefreshRequest;
import lingpai.v1.GetRequest;
import lingpai.v1.TokenState;
import lingpai.v1.TokenStatus;
import lingpai.v1.WatchTokenRequest;
import lingpai.v1.WatchTokenResponse;
import lingpai.v1.TokenServiceGrpc;

/** Always holds the newest WeChat access_token of one app, as a Lingpai broker pushes it. Safe for many threads. */
final class TokenSource {
  private static final long CALL_TIMEOUT_SECONDS = 10;

  /** A call to WeChat made with a token. */
  interface BusinessCall<R> {
    R with(String token) throws Exception;
  }

  /** Makes a connection. */
  interface Dial {
    ManagedChannel get() throws StatusException;
  }

  private final Dial dial;
  private final String appId;
  private final Duration silence;
  private final BiConsumer<String, Map<String, Object>> observe;
  private final Map<Long, FutureTask<Boolean>> reports = new ConcurrentHashMap<>(); // under way, by generation
  private TokenState state = TokenState.getDefaultInstance(); // generation 0: none yet
  private long refusedGeneration; // of the last report that the broker refused
  private long refusedUntil; // when it may be repeated, by System.nanoTime
  private long opened; // when the first message of this stream came, by System.nanoTime; 0: none has

  /**
   * @param dial makes a new connection to the broker. Each stream and each call has one of its own: one that is open and
   *     passes nothing any more, as behind a middle box that forgot it, is then never used again
   * @param silence how long a stream may say nothing: 2.5 times the broker's heartbeat
   * @param observe told of what happens, never of a token's value
   */
  TokenSource(
      Dial dial,
      String appId,
      Duration silence,
      BiConsumer<String, Map<String, Object>> observe) {
    this.dial = dial;
    this.appId = appId;
    this.silence = silence;
    this.observe = observe;
  }

  /** The newest token. */
  synchronized Token token() {
    if (!state.hasCurrent()) {
      throw new IllegalStateException(
          "no token of " + appId + ": " + name(state.getStatus()) + " " + state.getStatusReason());
    }
    return new Token(state.getCurrent().getValue(), state.getCurrent().getId(), state.getGeneration());
  }

  /** Asks for the token once, so that a service starts with one in hand. */
  void load() throws StatusException {
    var request = GetRequest.newBuilder().setAppId(appId).build();
    ManagedChannel channel = dial.get();
    try {
      var stub = TokenServiceGrpc.newBlockingV2Stub(channel).withDeadlineAfter(CALL_TIMEOUT_SECONDS, SECONDS);
      keep("get", stub.get(request).getState());
    } finally {
      channel.shutdownNow();
    }
  }

  /**
   * Makes a business call with the newest token. When WeChat refused that token, reports it to the broker and repeats
   * the business call once with the token that came instead. When none came, the refusal is thrown: the token is good
   * (STILL_VALID) and the cause lies elsewhere, or the broker cannot replace it now.
   */
  <R> R call(BusinessCall<R> business) throws Exception {
    Token used = token();
    try {
      return business.with(used.value());
    } catch (TokenRejectedException refusal) {
      if (!report(used) || !isNewerThan(used)) throw refusal;
    }
    return business.with(token().value());
  }

  /**
   * Tells the broker that WeChat refused a token, and returns whether there is another to use instead. All callers with
   * one token share one report.
   */
  private boolean report(Token used) throws InterruptedException, ExecutionException {
    var mine = new FutureTask<>(() -> forceRefresh(used));
    FutureTask<Boolean> shared = reports.putIfAbsent(used.generation(), mine);
    if (shared != null) return shared.get();
    mine.run();
    reports.remove(used.generation());
    return mine.get();
  }

  private boolean forceRefresh(Token used) {
    if (isNewerThan(used)) return true; // it came while the call was under way
    if (mustWait(used)) return false;
    var request = ForceRefreshRequest.newBuilder().setAppId(appId).setRejectedToken(used.value()).build();
    ManagedChannel channel = null;
    try {
      channel = dial.get();
      var stub = TokenServiceGrpc.newBlockingV2Stub(channel).withDeadlineAfter(CALL_TIMEOUT_SECONDS, SECONDS);
      var response = stub.forceRefresh(request);
      observe.accept("force_refresh", Map.of("outcome", name(response.getOutcome()), "rejected_id", used.id()));
      keep("state", response.getState());
      return response.getOutcome() != ForceRefreshOutcome.FORCE_REFRESH_OUTCOME_STILL_VALID;
    } catch (StatusException error) {
      // COOLDOWN, for instance: the token is kept, and reported again no sooner than the broker says.
      Failure failure = Failure.of(error);
      observe.accept("error", failure.fields("force_refresh", failure.retryAfter()));
      waitWith(used, failure.retryAfter());
      return false;
    } finally {
      if (channel != null) channel.shutdownNow();
    }
  }

  /** Watches the app until the thread is interrupted, reconnecting as often as it takes. */
  void run() throws InterruptedException {
    var backoff = new Backoff();
    for (boolean reconnect = false; ; reconnect = true) {
      Duration pause;
      opened = 0;
      try {
        pause = watch(reconnect);
      } catch (StatusException error) {
        boolean lived = opened != 0 && System.nanoTime() - opened >= silence.toNanos() / 5 * 2; // a heartbeat: 10 s of 25
        if (lived) backoff.reset();
        Failure failure = Failure.of(error);
        pause = backoff.after(failure, lived);
        var fields = new LinkedHashMap<>(failure.fields("watch", pause));
        fields.put("failures", backoff.failures());
        observe.accept("error", fields);
      }
      Thread.sleep(pause.toMillis());
    }
  }

  /** Reads one stream until a goaway and returns the pause that the broker asks for; throws on any other end. */
  private Duration watch(boolean reconnect) throws StatusException, InterruptedException {
    long known = known();
    var request = WatchTokenRequest.newBuilder().addAppIds(appId);
    if (known != 0) request.putKnownGenerations(appId, known);
    ManagedChannel channel = dial.get();
    try {
      var stub = TokenServiceGrpc.newBlockingV2Stub(channel);
      BlockingClientCall<?, WatchTokenResponse> stream = stub.watchToken(request.build());
      while (true) {
        WatchTokenResponse message = read(stream);
        if (opened == 0) {
          opened = System.nanoTime();
          if (reconnect) {
            var fields = Map.<String, Object>of("known_generation", unsigned(known), "sent_state", message.hasState());
            observe.accept("reconnect", fields);
          }
        }
        switch (message.getEventCase()) {
          case STATE -> keep("state", message.getState());
          case REMOVED -> drop();
          case GOAWAY -> {
            Duration pause = Backoff.afterGoaway(Failure.toDuration(message.getGoaway().getReconnectAfter()));
            observe.accept("goaway", Map.of("reconnect_after_ms", pause.toMillis()));
            return pause;
          }
          default -> {} // a heartbeat, or an event that a later broker added
        }
      }
    } finally {
      channel.shutdownNow();
    }
  }

  private WatchTokenResponse read(BlockingClientCall<?, WatchTokenResponse> stream)
      throws StatusException, InterruptedException {
    try {
      WatchTokenResponse message = stream.read(silence.toMillis(), MILLISECONDS);
      if (message != null) return message;
      throw Status.UNKNOWN.withDescription("the stream ended").asException();
    } catch (TimeoutException timeout) {
      String description = "nothing came for so long that the stream must be dead";
      throw Status.UNKNOWN.withDescription(description).asException();
    }
  }

  /**
   * Replaces what is held, also by the same generation, whose status may be another now, but never by an older one:
   * answers may overtake one another.
   */
  private synchronized void keep(String event, TokenState next) {
    if (Long.compareUnsigned(next.getGeneration(), state.getGeneration()) < 0) return;
    state = next;
    var fields = new LinkedHashMap<String, Object>();
    fields.put("app", next.getAppId());
    fields.put("generation", unsigned(next.getGeneration()));
    fields.put("token_id", next.getCurrent().getId());
    fields.put("previous_id", next.getPrevious().getId());
    fields.put("status", name(next.getStatus()));
    fields.put("status_reason", next.getStatusReason());
    observe.accept(event, fields);
  }

  private synchronized void drop() {
    state = TokenState.getDefaultInstance();
    observe.accept("removed", Map.of("app", appId));
  }

  /** The generation of the token that is held; 0: none is. */
  private synchronized long known() {
    return state.hasCurrent() ? state.getGeneration() : 0;
  }

  private synchronized boolean isNewerThan(Token used) {
    return state.hasCurrent() && Long.compareUnsigned(state.getGeneration(), used.generation()) > 0;
  }

  private synchronized void waitWith(Token used, Duration asked) {
    Duration pause = asked.compareTo(Backoff.RETRY_MAX) < 0 ? asked : Backoff.RETRY_MAX;
    refusedGeneration = used.generation();
    refusedUntil = System.nanoTime() + pause.toNanos();
  }

  private synchronized boolean mustWait(Token used) {
    return refusedGeneration == used.generation() && System.nanoTime() - refusedUntil < 0;
  }

  /** A generation is an unsigned number of 64 bits. */
  private static BigInteger unsigned(long generation) {
    return new BigInteger(Long.toUnsignedString(generation));
  }

  /** An enum's value without its prefix: FRESH. */
  private static String name(TokenStatus status) {
    return status.name().replace("TOKEN_STATUS_", "");
  }

  /** An enum's value without its prefix: STILL_VALID. */
  private static String name(ForceRefreshOutcome outcome) {
    return outcome.name().replace("FORCE_REFRESH_OUTCOME_", "");
  }
}
