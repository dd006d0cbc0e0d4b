package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenSourceTest {
  private static final String NOW = "2027-01-15T08:00:00Z";

  private final FakeKeeper keeper = new FakeKeeper();
  private final TokenSource source = new TokenSource("wx1", keeper);

  private static Map<String, Object> state(String generation, String value, String expires) {
    String current = value == null ? "" : ",\"current\":{\"value\":\"" + value + "\"" + (expires == null ? "" : ",\"expireTime\":\"" + expires + "\"") + "}";
    return Json.object("{\"appId\":\"wx1\",\"generation\":\"" + generation + "\"" + current + "}");
  }

  private void take(String generation, String value) {
    source.take(state(generation, value, null), NOW);
  }

  private void take(String generation, String value, String expires) {
    source.take(state(generation, value, expires), NOW);
  }

  /** The broker answers a report so. */
  private void answers(String outcome, String generation, String value) {
    keeper.broker =
        request -> {
          Map<String, Object> answer = Json.object("{\"outcome\":\"FORCE_REFRESH_OUTCOME_" + outcome + "\",\"serverTime\":\"" + NOW + "\"}");
          answer.put("state", state(generation, value, null));
          return answer;
        };
  }

  private void fails(String code, String reason, long retryAfterMs) {
    keeper.broker =
        request -> {
          throw new RpcException(code, reason, "", "wx1", retryAfterMs);
        };
  }

  private NoTokenException.Reason none() {
    return assertThrows(NoTokenException.class, source::token).reason();
  }

  /** Calls with each errcode in turn, and returns the tokens that were used. */
  private List<String> called(int... errcodes) {
    List<String> used = new ArrayList<>();
    source.call(
        token -> {
          used.add(token);
          TokenRejectedException.throwIf(errcodes[used.size() - 1]);
          return null;
        });
    return used;
  }

  // R2

  @Test
  void anOlderGenerationIsNotTaken() {
    take("9", "nine");
    take("8", "eight");
    assertEquals("nine", source.get());
    take("9", "again");
    assertEquals("again", source.get());
    take("8", null);
    assertEquals("again", source.get());
  }

  @ParameterizedTest
  @CsvSource({"9007199254740992, 9007199254740993", "9223372036854775807, 9223372036854775808", "1, 18446744073709551615"})
  void generationsAreUnsignedAndExact(String older, String newer) {
    take(newer, "newer");
    take(older, "older");
    assertEquals("newer", source.get());
    assertEquals(newer, Long.toUnsignedString(source.token().generation()));
    assertEquals(newer, source.known());
  }

  @Test
  void onlyRemovedResets() {
    take("9", "nine");
    source.drop(NoTokenException.Reason.NOT_FOUND);
    take("8", "eight");
    assertEquals(NoTokenException.Reason.NOT_FOUND, none());
    source.drop(NoTokenException.Reason.REMOVED);
    assertEquals(NoTokenException.Reason.REMOVED, none());
    take("1", "one");
    assertEquals("one", source.get());
  }

  @ParameterizedTest
  @ValueSource(strings = {"18446744073709551616", "-1", "x", "1.0"})
  void aGenerationThatIsNoneChangesNothing(String generation) {
    take("1", "one", "2027-01-15T08:00:10Z");
    assertThrows(RpcException.class, () -> take(generation, "other"));
    assertEquals("one", source.get());
  }

  @Test
  void aValueThatIsNoneChangesNothingAndTheOldOneStillExpires() {
    take("1", "one", "2027-01-15T08:00:10Z");
    String tooLong = String.join("", Collections.nCopies(2_049, "v"));
    RpcException error = assertThrows(RpcException.class, () -> take("2", tooLong));
    assertTrue(error.getMessage().length() < 100, "the value is not repeated");
    assertEquals("one", source.get());
    keeper.advanceMs(10_000);
    assertEquals(NoTokenException.Reason.EXPIRED, none());
    take("2", tooLong.substring(1));
    assertEquals(2_048, source.get().length());
  }

  // R3

  @Test
  void aTokenLivesAsLongAsItsMessageSays() {
    take("1", "one", "2027-01-15T08:00:10Z");
    keeper.advanceMs(9_999);
    assertEquals("one", source.get());
    keeper.advanceMs(1);
    assertEquals(NoTokenException.Reason.EXPIRED, none());
    assertNull(source.known());
    assertEquals(Arrays.asList("STATE HELD ", "STATE NONE EXPIRED"), keeper.events);
  }

  @Test
  void aNewerTokenHasALifeOfItsOwn() {
    take("1", "one", "2027-01-15T08:00:10Z");
    take("2", "two", "2027-01-15T09:00:00Z");
    assertEquals(1, keeper.plans());
    keeper.advanceMs(10_000);
    assertEquals("two", source.get());
  }

  @Test
  void withoutTheBrokersTimeALifeIsCountedFromNow() {
    source.take(state("1", "one", Instant.now().plusSeconds(100).toString()), "");
    assertEquals("one", source.get());
    keeper.advanceMs(100_001);
    assertEquals(NoTokenException.Reason.EXPIRED, none());
  }

  @Test
  void anEmptyValueIsAnError() {
    take("1", "one");
    assertThrows(RpcException.class, () -> source.take(Json.object("{\"generation\":\"2\",\"current\":{}}"), NOW));
    assertThrows(RpcException.class, () -> source.take(state("2", "", null), NOW));
    assertThrows(RpcException.class, () -> source.take(Json.object("{\"generation\":\"2\",\"current\":{\"value\":\"two\"},\"previous\":{}}"), NOW));
    assertEquals("one", source.get());
  }

  @Test
  void aTokenThatCameTooLateIsNotTaken() {
    take("1", "one", NOW);
    assertEquals(NoTokenException.Reason.EXPIRED, none());
  }

  @Test
  void timesFarAwayAreTimesToo() {
    take("1", "one", "-999999999-01-01T00:00:00Z");
    assertEquals(NoTokenException.Reason.EXPIRED, none());
    take("2", "two", "+999999999-01-01T00:00:00Z");
    assertEquals("two", source.get());
    assertThrows(RpcException.class, () -> take("3", "three", "tomorrow"));
    assertEquals("two", source.get());
    assertEquals(0, keeper.plans());
  }

  @Test
  void aTokenWithoutAnEndDoesNotExpire() {
    take("1", "one");
    assertEquals(0, keeper.plans());
  }

  @Test
  void aStateWithoutATokenSaysWhy() {
    assertEquals(NoTokenException.Reason.WAITING, none());
    source.take(Json.object("{\"generation\":\"0\",\"status\":\"TOKEN_STATUS_PENDING\"}"), NOW);
    assertEquals(NoTokenException.Reason.PENDING, none());
    take("1", "one");
    source.take(Json.object("{\"generation\":\"1\",\"status\":\"TOKEN_STATUS_EXPIRED\",\"statusReason\":\"WeChat answers -1, it is busy\"}"), NOW);
    NoTokenException error = assertThrows(NoTokenException.class, source::token);
    assertEquals(NoTokenException.Reason.EXPIRED, error.reason());
    assertEquals("no token of wx1: EXPIRED, WeChat answers -1, it is busy", error.getMessage());
  }

  // R11, R12

  @ParameterizedTest
  @CsvSource({"REFRESHED, 40001", "JOINED, 40014", "ALREADY_NEWER, 42001"})
  void aRefusedTokenIsReportedAndTheCallMadeOnceMore(String outcome, int errcode) {
    take("1", "one");
    answers(outcome, "2", "two");
    assertEquals(Arrays.asList("one", "two"), called(errcode, 0));
    assertEquals(Collections.singletonList("{\"appId\":\"wx1\",\"rejectedToken\":\"one\"}"), keeper.requests);
    assertTrue(keeper.events.contains("REPORT " + outcome + " "));
  }

  @Test
  void theCallIsMadeTwiceAtMost() {
    take("1", "one");
    answers("REFRESHED", "2", "two");
    assertThrows(TokenRejectedException.class, () -> called(40001, 40001, 0));
    assertEquals(1, keeper.requests.size());
  }

  @Test
  void stillValidGivesTheCallersOwnException() {
    take("1", "one");
    answers("STILL_VALID", "1", "one");
    TokenRejectedException own = new TokenRejectedException(40001);
    int[] calls = {0};
    TokenRejectedException thrown =
        assertThrows(
            TokenRejectedException.class,
            () ->
                source.call(
                    token -> {
                      calls[0]++;
                      throw own;
                    }));
    assertSame(own, thrown);
    assertEquals(1, calls[0]);
  }

  @Test
  void aReportThatFailsGivesTheCallersOwnException() {
    take("1", "one");
    fails("UNAVAILABLE", "", 0);
    assertEquals(42001, assertThrows(TokenRejectedException.class, () -> called(42001)).errcode());
    assertTrue(keeper.events.contains("ERROR UNAVAILABLE "));
  }

  @Test
  void anotherErrorIsNotAboutTheToken() {
    take("1", "one");
    IllegalStateException own = new IllegalStateException();
    assertSame(
        own,
        assertThrows(
            IllegalStateException.class,
            () ->
                source.call(
                    token -> {
                      throw own;
                    })));
    assertEquals(Collections.singletonList("one"), called(45009));
    assertEquals(0, keeper.requests.size());
  }

  @Test
  void nobodyIsAskedWhereANewerTokenIsHeld() {
    take("1", "one");
    Token refused = source.token();
    take("2", "two");
    TokenSource.Report report = source.report(refused);
    assertEquals("NEWER_HELD", report.outcome());
    assertEquals("two", report.token().value());
  }

  @Test
  void afterRetryInfoTheSameErrorIsTheAnswerUntilThen() {
    take("1", "one");
    fails("RESOURCE_EXHAUSTED", "COOLDOWN", 3_000);
    RpcException first = assertThrows(RpcException.class, () -> source.report(source.token()));
    keeper.advanceMs(2_999);
    RpcException again = assertThrows(RpcException.class, () -> source.report(source.token()));
    assertSame(first.getCause(), again.getCause(), "each has its own trace, and the report's behind it");
    assertEquals("RESOURCE_EXHAUSTED COOLDOWN wx1 PT3S", String.join(" ", again.code(), again.reason(), again.app(), again.retryAfter().toString()));
    assertEquals(1, keeper.requests.size());
    keeper.advanceMs(1);
    answers("REFRESHED", "2", "two");
    assertEquals("REFRESHED", source.report(source.token()).outcome());
    assertEquals(2, keeper.requests.size());
  }

  @Test
  void anOutcomeOfALaterBrokerIsUnknown() {
    take("1", "one");
    keeper.broker = request -> Json.object("{\"outcome\":99}");
    TokenSource.Report report = source.report(source.token());
    assertEquals("UNKNOWN", report.outcome());
    assertEquals("one", report.token().value());
  }

  @Test
  void manyWhoReportOneTokenShareOneReport() throws Exception {
    take("1", "one");
    Token refused = source.token();
    CountDownLatch answer = new CountDownLatch(1);
    keeper.broker =
        request -> {
          await(answer);
          Map<String, Object> told = Json.object("{\"outcome\":\"FORCE_REFRESH_OUTCOME_REFRESHED\"}");
          told.put("state", state("2", "two", null));
          return told;
        };
    ExecutorService threads = Executors.newFixedThreadPool(20);
    List<Future<String>> reports = new ArrayList<>();
    CountDownLatch begun = new CountDownLatch(20);
    for (int each = 0; each < 20; each++)
      reports.add(
          threads.submit(
              () -> {
                begun.countDown();
                return source.report(refused).token().value();
              }));
    await(begun);
    answer.countDown();
    for (Future<String> report : reports) assertEquals("two", report.get(10, TimeUnit.SECONDS));
    threads.shutdownNow();
    assertEquals(1, keeper.requests.size());
  }

  @Test
  void whoIsInterruptedLeavesAReportToTheOthers() throws Exception {
    take("1", "one");
    Token refused = source.token();
    answers("REFRESHED", "2", "two");
    Function<String, Map<String, Object>> answer = keeper.broker;
    CountDownLatch asked = new CountDownLatch(1);
    CountDownLatch answered = new CountDownLatch(1);
    keeper.broker =
        request -> {
          asked.countDown();
          try {
            answered.await();
          } catch (InterruptedException interrupted) {
            throw new RpcException("UNAVAILABLE", "", "interrupted", "", 0);
          }
          return answer.apply(request);
        };
    keeper.threads = work -> new Thread(work).start();
    FutureTask<Boolean> first =
        new FutureTask<>(
            () -> {
              TokenRejectedException own = new TokenRejectedException(40001);
              Throwable thrown = assertThrows(TokenRejectedException.class, () -> source.call(token -> {
                throw own;
              }));
              return thrown == own && Thread.currentThread().isInterrupted();
            });
    Thread interrupted = new Thread(first);
    interrupted.start();
    await(asked);
    FutureTask<String> second = new FutureTask<>(() -> source.report(refused).token().value());
    new Thread(second).start();
    interrupted.interrupt();
    assertTrue(first.get(10, TimeUnit.SECONDS), "who is interrupted gets its own exception, and stays interrupted");
    answered.countDown();
    assertEquals("two", second.get(10, TimeUnit.SECONDS));
    assertEquals(1, keeper.requests.size());
  }

  @Test
  void aReportThatGetsNoThreadIsOver() {
    take("1", "one");
    keeper.threads =
        work -> {
          throw new OutOfMemoryError("unable to create native thread");
        };
    assertEquals(40001, assertThrows(TokenRejectedException.class, () -> called(40001)).errcode());
    keeper.threads = Runnable::run;
    answers("REFRESHED", "2", "two");
    assertEquals("REFRESHED", source.report(source.token()).outcome());
  }

  private static void await(CountDownLatch latch) {
    try {
      assertTrue(latch.await(10, TimeUnit.SECONDS));
    } catch (InterruptedException interrupted) {
      throw new AssertionError(interrupted);
    }
  }

  // R15

  @Test
  void afterCloseReadsAndReportsThrow() {
    take("1", "one", "2027-01-15T08:00:10Z");
    Token token = source.token();
    source.close();
    assertThrows(ClosedException.class, source::token);
    assertThrows(ClosedException.class, source::get);
    assertThrows(ClosedException.class, () -> source.report(token));
    assertThrows(ClosedException.class, () -> source.await(1, 1, TimeUnit.SECONDS));
    assertEquals(0, keeper.plans());
    take("2", "two");
    assertThrows(ClosedException.class, source::token);
  }

  @Test
  void closeDuringAReportGivesTheCallersOwnException() {
    take("1", "one");
    keeper.broker =
        request -> {
          source.close();
          throw new ClosedException();
        };
    assertThrows(TokenRejectedException.class, () -> called(40001));
  }

  @Test
  void closeEndsAReportThatIsNotAnswered() throws Exception {
    take("1", "one");
    Token refused = source.token();
    CountDownLatch asked = new CountDownLatch(1);
    keeper.threads = work -> asked.countDown(); // and never does it
    FutureTask<Throwable> report = new FutureTask<>(() -> assertThrows(ClosedException.class, () -> source.report(refused)));
    new Thread(report).start();
    await(asked);
    source.close();
    assertEquals("the client is closed", report.get(10, TimeUnit.SECONDS).getMessage());
  }

  @Test
  void awaitWaitsForAGeneration() throws InterruptedException {
    take("5", "five");
    assertEquals("five", source.await(5, 0, TimeUnit.SECONDS).value());
    assertNull(source.await(6, 1, TimeUnit.MILLISECONDS));
    new Thread(() -> take("6", "six")).start();
    assertEquals("six", source.await(6, Long.MAX_VALUE, TimeUnit.DAYS).value());
  }

  // R19

  @Test
  void aFixedSourceHoldsOneValueAfterTheOther() {
    TokenSource fixed = TokenSource.fixed("wx1", "one", "two");
    assertEquals("one", fixed.get());
    assertEquals("two", fixed.call(token -> {
      if (token.equals("one")) throw new TokenRejectedException(40001);
      return token;
    }));
    assertEquals("STILL_VALID", fixed.report(fixed.token()).outcome());
    assertThrows(TokenRejectedException.class, () -> fixed.call(token -> {
      throw new TokenRejectedException(40001);
    }));
    assertEquals("a fixed source of wx1 has no value: give one", assertThrows(IllegalArgumentException.class, () -> TokenSource.fixed("wx1")).getMessage());
  }
}
