package lingpai.example;

import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
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
import lingpai.v1.TokenServiceGrpc.TokenServiceBlockingV2Stub;

/** Always holds the newest WeChat access_token of one app, as a Lingpai broker pushes it. Safe for many threads. */
final class TokenSource {
  private static final long CALL_TIMEOUT_SECONDS = 10;
  private static final long BACKOFF_BASE_MS = 500;
  private static final long BACKOFF_MAX_MS = 10_000;

  /** A call to WeChat made with a token. */
  interface BusinessCall<R> {
    R with(String token) throws Exception;
  }

  private final ManagedChannel channel;
  private final TokenServiceBlockingV2Stub stub;
  private final String appId;
  private final Duration silence;
  private final BiConsumer<String, Map<String, Object>> observe;
  private TokenState state = TokenState.getDefaultInstance(); // generation 0: none yet
  private int failures;

  /**
   * @param silence how long a stream may say nothing: 2.5 times the broker's heartbeat
   * @param observe told of what happens, never of a token's value
   */
  TokenSource(
      ManagedChannel channel, String appId, Duration silence, BiConsumer<String, Map<String, Object>> observe) {
    this.channel = channel;
    this.stub = TokenServiceGrpc.newBlockingV2Stub(channel);
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
    keep("get", stub.withDeadlineAfter(CALL_TIMEOUT_SECONDS, SECONDS).get(request).getState());
  }

  /**
   * Makes a business call with the newest token. When WeChat refused that token, reports it to the broker and repeats
   * the business call once with the token that came instead.
   */
  <R> R call(BusinessCall<R> business) throws Exception {
    Token used = token();
    Token newer;
    try {
      return business.with(used.value());
    } catch (TokenRejectedException refusal) {
      report(used);
      newer = token();
      // The token is good (STILL_VALID): the cause lies elsewhere, and repeating would not help.
      if (newer.generation() == used.generation()) throw refusal;
    }
    return business.with(newer.value());
  }

  private void report(Token refused) throws StatusException {
    var request = ForceRefreshRequest.newBuilder().setAppId(appId).setRejectedToken(refused.value()).build();
    var response = stub.withDeadlineAfter(CALL_TIMEOUT_SECONDS, SECONDS).forceRefresh(request);
    observe.accept("force_refresh", Map.of("outcome", name(response.getOutcome()), "rejected_id", refused.id()));
    keep("state", response.getState());
  }

  /** Watches the app until the thread is interrupted, reconnecting as often as it takes. */
  void run() throws InterruptedException {
    for (boolean reconnect = false; ; reconnect = true) {
      Duration pause;
      try {
        pause = watch(reconnect);
      } catch (StatusException error) {
        // Full jitter: many clients that lost one broker must not return together.
        long bound = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS << Math.min(failures++, 10));
        pause = Duration.ofMillis(ThreadLocalRandom.current().nextLong(bound));
        var failure = Failure.of(error);
        if (failure.retryAfter().compareTo(pause) > 0) pause = failure.retryAfter();
        observe.accept("error", failure.fields("watch", pause));
      }
      Thread.sleep(pause.toMillis());
      channel.resetConnectBackoff(); // this loop already paces the attempts
    }
  }

  /** Reads one stream until a goaway and returns the pause that the broker asks for; throws on any other end. */
  private Duration watch(boolean reconnect) throws StatusException, InterruptedException {
    long known = known();
    var request = WatchTokenRequest.newBuilder().addAppIds(appId);
    if (known > 0) request.putKnownGenerations(appId, known);
    BlockingClientCall<?, WatchTokenResponse> stream = stub.watchToken(request.build());
    try {
      while (true) {
        WatchTokenResponse message = read(stream);
        failures = 0;
        if (reconnect) {
          observe.accept("reconnect", Map.of("known_generation", known, "sent_state", message.hasState()));
          reconnect = false;
        }
        switch (message.getEventCase()) {
          case STATE -> keep("state", message.getState());
          case REMOVED -> drop();
          case GOAWAY -> {
            Duration pause = Failure.toDuration(message.getGoaway().getReconnectAfter());
            observe.accept("goaway", Map.of("reconnect_after_ms", pause.toMillis()));
            return pause;
          }
          default -> {} // a heartbeat, or an event that a later broker added
        }
      }
    } finally {
      stream.cancel("this watch is over", null);
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

  /** Replaces what is held, but never by an older generation: answers may overtake one another. */
  private synchronized void keep(String event, TokenState next) {
    if (next.getGeneration() < state.getGeneration()) return;
    state = next;
    var fields = new LinkedHashMap<String, Object>();
    fields.put("app", next.getAppId());
    fields.put("generation", next.getGeneration());
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

  /** An enum's value without its prefix: FRESH. */
  private static String name(TokenStatus status) {
    return status.name().replace("TOKEN_STATUS_", "");
  }

  /** An enum's value without its prefix: STILL_VALID. */
  private static String name(ForceRefreshOutcome outcome) {
    return outcome.name().replace("FORCE_REFRESH_OUTCOME_", "");
  }
}
