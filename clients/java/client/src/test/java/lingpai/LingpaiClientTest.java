package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.text.MessageFormat;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.Stream;
import lingpai.testing.FakeBroker;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A client beside a broker in this process, its clocks a hundredth of what they are. */
@Timeout(20)
class LingpaiClientTest {
  private static final Logger LOG = Logger.getLogger("lingpai");

  private final FakeBroker broker = FakeBroker.start("wx1", "wx2");
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final List<String> lines = Collections.synchronizedList(new ArrayList<>());
  private final Timing timing = new Timing();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord line) {
          lines.add(line.getLevel() + " " + MessageFormat.format(line.getMessage(), line.getParameters()));
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @BeforeEach
  void prepare() {
    timing.backoffFloor = 1;
    timing.backoffBase = 5;
    timing.backoffCap = 100;
    timing.slow = 100;
    timing.slowCap = 200;
    timing.appRetry = 20;
    LOG.addHandler(handler);
    LOG.setUseParentHandlers(false);
  }

  @AfterEach
  void stop() {
    broker.stop();
    LOG.removeHandler(handler);
    LOG.setUseParentHandlers(true);
  }

  private LingpaiClient.Builder builder() {
    return LingpaiClient.builder(broker.target()).app("wx1").timing(timing).observer(events::add);
  }

  /** The next event of which this is true; others are passed over. */
  private Event event(Predicate<Event> wanted) throws InterruptedException {
    while (true) {
      Event event = events.poll(10, TimeUnit.SECONDS);
      if (event == null) throw new AssertionError("the event did not come");
      if (wanted.test(event)) return event;
    }
  }

  private Event event(Event.Type type) throws InterruptedException {
    return event(event -> event.type() == type);
  }

  private boolean isLogged(String part) {
    synchronized (lines) {
      return lines.stream().anyMatch(line -> line.contains(part));
    }
  }

  private static List<Thread> threads() {
    List<Thread> own = new ArrayList<>(Thread.getAllStackTraces().keySet());
    own.removeIf(thread -> !thread.getName().startsWith("lingpai"));
    return own;
  }

  private static boolean isWriting(Thread thread) {
    return Stream.of(thread.getStackTrace()).anyMatch(frame -> frame.getClassName().contains("Socket") && frame.getMethodName().contains("rite"));
  }

  /** Each thread has ended, or is about to. */
  private static void noThreads() {
    for (Thread thread : threads()) {
      try {
        thread.join(1_000);
      } catch (InterruptedException interrupted) {
        throw new AssertionError(interrupted);
      }
      assertFalse(thread.isAlive(), thread.getName());
    }
  }

  @Test
  void holdsWhatTheBrokerRotates() throws Exception {
    try (LingpaiClient client = builder().build()) {
      TokenSource source = client.app("wx1");
      assertEquals(broker.token("wx1"), source.get());
      String newer = broker.rotate("wx1");
      assertEquals(newer, source.await(2, 10, TimeUnit.SECONDS).value());
      assertNotEquals(newer, source.token().previous().value());
      assertEquals("LIVE", client.stats().state());
    }
    noThreads();
  }

  @Test
  void aDeadTokenIsCuredAtTheFirstCall() {
    try (LingpaiClient client = builder().build()) {
      broker.kill("wx1");
      String used =
          client.app("wx1").call(
              token -> {
                if (!broker.honours("wx1", token)) throw new TokenRejectedException(40001);
                return token;
              });
      assertEquals(broker.token("wx1"), used);
      assertEquals(1, broker.reports());
    }
  }

  @Test
  void aStreamThatIsLostIsOpenedAnewAndSoIsSaidInTheLog() throws Exception {
    try (LingpaiClient client = builder().build()) {
      broker.stop();
      event(event -> event.type() == Event.Type.ERROR && event.during().equals("watch"));
      assertEquals("STALE", client.stats().state());
      assertTrue(isLogged("INFO the stream to the broker is lost; the next try is in "));
      for (int failure = 0; failure < 3; failure++) event(Event.Type.ERROR);
      assertTrue(isLogged("WARNING the stream to the broker fails again and again"));
      client.app("wx1").token();
      broker.restart();
      broker.rotate("wx1");
      event(Event.Type.RECONNECT);
      client.app("wx1").await(2, 10, TimeUnit.SECONDS);
      assertTrue(isLogged("INFO the stream to the broker is back"));
      assertFalse(isLogged("FAKE_"), "a token's value was logged");
    }
  }

  @Test
  void aGoawayIsWaitedOut() throws Exception {
    try (LingpaiClient client = builder().build()) {
      broker.drain(Duration.ofMillis(10));
      assertEquals(10, event(Event.Type.GOAWAY).afterMs());
      event(Event.Type.RECONNECT);
      assertEquals(1, client.stats().goaways());
      assertFalse(isLogged("lost"));
    }
  }

  @Test
  void evenAnErrorOfTheKeySupplierIsTriedAgain() throws Exception {
    List<String> keys = new ArrayList<>();
    try (LingpaiClient client =
        builder()
            .startOptional()
            .keySupplier(
                () -> {
                  keys.add("asked");
                  if (keys.size() < 3) throw new NoClassDefFoundError("theirs");
                  return "key";
                })
            .build()) {
      assertEquals(broker.token("wx1"), client.app("wx1").await(1, 10, TimeUnit.SECONDS).value());
      assertEquals("UNAUTHENTICATED", event(Event.Type.ERROR).code());
    }
  }

  @Test
  void whatSomebodyMustMendIsAWarning() throws Exception {
    try (LingpaiClient client = builder().build()) {
      broker.refuse("UNAUTHENTICATED", "CREDENTIALS_INVALID");
      assertTrue(event(Event.Type.ERROR).afterMs() >= 100);
      assertTrue(isLogged("WARNING the stream to the broker failed, and somebody must mend it; the next try is in 1"));
      client.app("wx1").token();
      broker.accept();
      event(Event.Type.RECONNECT);
    }
  }

  // R4

  @Test
  void aStartFailsAtOnceWithWhatIsWrong() {
    RpcException unknown = assertThrows(RpcException.class, () -> builder().app("wx9").build());
    assertEquals("NOT_FOUND: APP_NOT_FOUND: no app wx9 is configured", unknown.getMessage());
    assertTrue(Stream.of(unknown.getStackTrace()).anyMatch(frame -> frame.getClassName().equals(getClass().getName())), "the trace says who started it");
    broker.refuse("UNAUTHENTICATED", "CREDENTIALS_INVALID");
    assertEquals("UNAUTHENTICATED", assertThrows(RpcException.class, () -> builder().build()).code());
    noThreads();
  }

  @Test
  void aStartThatIsNotAnsweredSaysWhatIsMissing() {
    broker.stop();
    StartTimeoutException error = assertThrows(StartTimeoutException.class, () -> builder().startTimeout(Duration.ofSeconds(1)).build());
    assertEquals(Collections.singletonList("wx1"), error.apps());
    assertTrue(error.getMessage().startsWith("no token of wx1 within 1000 ms: UNAVAILABLE: 127.0.0.1:"), error.getMessage());
    noThreads();
  }

  // R10

  @Test
  void anAppThatIsUnknownIsLeftOutUntilTheBrokerKnowsIt() throws Exception {
    try (LingpaiClient client = builder().app("wx8").app("wx9").startOptional().build()) {
      client.app("wx1").await(1, 10, TimeUnit.SECONDS);
      event(event -> event.type() == Event.Type.STATE && event.app().equals("wx9"));
      assertEquals(NoTokenException.Reason.NOT_FOUND, assertThrows(NoTokenException.class, client.app("wx9")::token).reason());
      assertTrue(isLogged("WARNING the broker does not know an app, which is left out; it is asked for again every 20 ms: NOT_FOUND: APP_NOT_FOUND: no app wx8"));
      broker.add("wx9");
      assertEquals(broker.token("wx9"), client.app("wx9").await(1, 10, TimeUnit.SECONDS).value());
      broker.add("wx8");
      assertEquals(broker.token("wx8"), client.app("wx8").await(1, 10, TimeUnit.SECONDS).value());
      String newer = broker.rotate("wx8");
      assertEquals(newer, client.app("wx8").await(2, 10, TimeUnit.SECONDS).value());
    }
  }

  @Test
  void manyAppsThatAreUnknownTakeOneThread() throws Exception {
    LingpaiClient.Builder builder = builder();
    for (int app = 0; app < 50; app++) builder.app("none" + app);
    try (LingpaiClient client = builder.startOptional().build()) {
      client.app("wx1").await(1, 10, TimeUnit.SECONDS);
      assertTrue(threads().size() <= 5, threads().toString());
    }
  }

  @Test
  void anAppThatHealedWhileTheBrokerWasGoneDoesNotSpareThePause() throws Exception {
    timing.backoffFloor = 20;
    try (LingpaiClient client = builder().app("wx9").startOptional().build()) {
      client.app("wx1").await(1, 10, TimeUnit.SECONDS);
      broker.add("wx9");
      client.app("wx9").await(1, 10, TimeUnit.SECONDS);
      broker.stop();
      long before = client.stats().attempts();
      long start = System.nanoTime();
      for (int failure = 0; failure < 5; failure++) event(event -> event.type() == Event.Type.ERROR && event.during().equals("watch"));
      long pauses = (System.nanoTime() - start) / 20_000_000 + 2;
      assertTrue(client.stats().attempts() - before <= pauses, "one attempt in each 20 ms at most");
    }
  }

  // R15

  @Test
  void closeEndsWaitersAndMayBeCalledAgain() throws Exception {
    LingpaiClient client = builder().build();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    CountDownLatch waits = new CountDownLatch(1);
    Thread waiter =
        new Thread(
            () -> {
              try {
                waits.countDown();
                client.app("wx1").await(99, 1, TimeUnit.HOURS);
              } catch (Throwable error) {
                thrown.set(error);
              }
            });
    waiter.start();
    waits.await();
    client.close();
    client.close();
    waiter.join();
    assertEquals(ClosedException.class, thrown.get().getClass());
    assertThrows(ClosedException.class, client.app("wx1")::token);
    assertEquals("CLOSED", client.stats().state());
    noThreads();
  }

  @Test
  void closeInterruptsAStreamThatNobodyReads() throws Exception {
    try (RawServer deaf = new RawServer(null, false)) {
      // Larger than what the kernel takes of it, 4 MiB.
      LingpaiClient client = deaf.client().key(String.join("", Collections.nCopies(8 << 20, "k"))).startOptional().build();
      while (threads().stream().noneMatch(LingpaiClientTest::isWriting)) Thread.sleep(1);
      long start = System.nanoTime();
      client.close();
      assertTrue(System.nanoTime() - start < 1_000_000_000L, "close waited");
      noThreads();
    }
  }

  @Test
  void closeDoesNotWaitForAKeySupplier() throws Exception {
    CountDownLatch asked = new CountDownLatch(1);
    CountDownLatch never = new CountDownLatch(1);
    LingpaiClient client =
        builder()
            .startOptional()
            .keySupplier(
                () -> {
                  asked.countDown();
                  try {
                    never.await();
                  } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                  }
                  return "key";
                })
            .build();
    asked.await();
    long start = System.nanoTime();
    client.close();
    assertTrue(System.nanoTime() - start < 1_000_000_000L, "close waited");
    never.countDown();
    noThreads();
  }

  @Test
  void manyClientsThatAreClosedAtOnceLeaveNothing() {
    for (int round = 0; round < 200; round++) builder().startOptional().build().close();
    noThreads();
  }

  // R17

  @Test
  void whatAnObserverThrowsIsSwallowed() throws Exception {
    BlockingQueue<Long> told = new LinkedBlockingQueue<>();
    try (LingpaiClient client =
        builder()
            .observer(
                event -> {
                  told.add(event.generation());
                  if (event.generation() == 1) throw new AssertionError("theirs");
                  throw new IllegalStateException("theirs");
                })
            .build()) {
      broker.rotate("wx1");
      client.app("wx1").await(2, 10, TimeUnit.SECONDS);
      assertEquals(1, told.poll(10, TimeUnit.SECONDS));
      assertEquals(2, told.poll(10, TimeUnit.SECONDS));
      assertTrue(isLogged("WARNING the observer threw"));
    }
  }

  @Test
  void anObserverMayUseTheClient() throws Exception {
    AtomicReference<LingpaiClient> own = new AtomicReference<>();
    BlockingQueue<String> read = new LinkedBlockingQueue<>();
    try (LingpaiClient client =
        builder()
            .observer(
                event -> {
                  if (event.generation() == 2) read.add(own.get().app("wx1").get() + own.get().stats().state());
                })
            .build()) {
      own.set(client);
      String newer = broker.rotate("wx1");
      String seen = read.poll(10, TimeUnit.SECONDS);
      while (seen != null && !seen.equals(newer + "LIVE")) seen = read.poll(10, TimeUnit.SECONDS); // the start may be told late
      assertNotNull(seen, "the observer was never told of the newer token, or could not read it");
    }
  }

  @Test
  void anObserverThatBlocksHoldsUpNobody() throws Exception {
    CountDownLatch end = new CountDownLatch(1);
    CountDownLatch blocked = new CountDownLatch(1);
    try (LingpaiClient client =
        builder()
            .app("wx2")
            .observer(
                event -> {
                  if (!event.reason().equals("EXPIRED")) return;
                  blocked.countDown();
                  try {
                    end.await();
                  } catch (InterruptedException interrupted) {
                    throw new AssertionError(interrupted);
                  }
                })
            .build()) {
      broker.setLife(Duration.ofMillis(100));
      broker.rotate("wx1");
      blocked.await();
      broker.rotate("wx2");
      client.app("wx2").await(2, 10, TimeUnit.SECONDS);
      synchronized (client.lock) {
        while (client.app("wx2").isHeld()) client.lock.wait();
      }
      end.countDown();
    }
    noThreads();
  }

  /** An observer that reports the token again, once it is told of the end of a report by this type of event. */
  private void reportedAgainOn(Event.Type type, Runnable harm) throws Exception {
    AtomicReference<TokenSource> source = new AtomicReference<>();
    CompletableFuture<Throwable> again = new CompletableFuture<>();
    AtomicBoolean isDone = new AtomicBoolean();
    try (LingpaiClient client =
        builder()
            .observer(
                event -> {
                  if (event.type() != type || type == Event.Type.ERROR && !event.during().equals("report") || !isDone.compareAndSet(false, true)) return;
                  try {
                    source.get().report(source.get().token());
                    again.complete(null);
                  } catch (RuntimeException thrown) {
                    again.complete(thrown);
                  }
                })
            .build()) {
      source.set(client.app("wx1"));
      harm.run();
      Thread caller = new Thread(() -> source.get().call(token -> {
        throw new TokenRejectedException(40001);
      }));
      caller.setUncaughtExceptionHandler((thread, own) -> assertEquals(TokenRejectedException.class, own.getClass()));
      caller.start();
      Throwable thrown = again.get(10, TimeUnit.SECONDS);
      assertEquals(type == Event.Type.ERROR, thrown instanceof RpcException, String.valueOf(thrown));
      assertEquals(2, client.stats().reports());
    }
  }

  @Test
  void anObserverMayReport() throws Exception {
    reportedAgainOn(Event.Type.REPORT, () -> {});
    reportedAgainOn(Event.Type.ERROR, () -> broker.refuse("UNAVAILABLE", ""));
  }

  /** How long close takes in milliseconds, called by an observer once this is true. */
  private long closedOn(Predicate<Event> wanted, Runnable harm) throws Exception {
    CompletableFuture<LingpaiClient> own = new CompletableFuture<>();
    CompletableFuture<Long> took = new CompletableFuture<>();
    own.complete(
        builder()
            .observer(
                event -> {
                  if (!wanted.test(event)) return;
                  long start = System.nanoTime();
                  own.join().close();
                  took.complete((System.nanoTime() - start) / 1_000_000);
                })
            .build());
    harm.run();
    return took.get(10, TimeUnit.SECONDS);
  }

  @Test
  void anObserverMayCloseTheClient() throws Exception {
    long onStream = closedOn(event -> event.type() == Event.Type.GOAWAY, () -> broker.drain(Duration.ofMillis(1)));
    assertTrue(onStream < 1_000, "close took " + onStream + " ms");
    long onTimer =
        closedOn(
            event -> event.reason().equals("EXPIRED"),
            () -> {
              broker.setLife(Duration.ofMillis(100));
              broker.rotate("wx1");
            });
    assertTrue(onTimer < 1_000, "close took " + onTimer + " ms");
  }

  @Test
  void whatAHandlerOfTheLogThrowsIsSwallowed() throws Exception {
    Handler broken =
        new Handler() {
          @Override
          public void publish(LogRecord line) {
            lines.add("asked");
            throw new NoClassDefFoundError("theirs");
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    LOG.addHandler(broken);
    try (LingpaiClient client = builder().app("wx9").startOptional().build()) {
      client.app("wx1").await(1, 10, TimeUnit.SECONDS);
      broker.add("wx9");
      client.app("wx9").await(1, 10, TimeUnit.SECONDS);
      broker.refuse("UNAUTHENTICATED", "CREDENTIALS_INVALID");
      assertTrue(event(event -> event.code().equals("UNAUTHENTICATED")).afterMs() >= 100);
      broker.accept();
      event(Event.Type.RECONNECT);
      assertTrue(isLogged("asked"));
    } finally {
      LOG.removeHandler(broken);
    }
  }

  @Test
  void theLevelOfTheLogIsRespected() throws InterruptedException {
    LOG.setLevel(Level.OFF);
    try (LingpaiClient client = builder().build()) {
      assertEquals("LIVE", client.stats().state());
      broker.refuse("UNAUTHENTICATED", "");
      event(Event.Type.ERROR); // the line would have come before it
    } finally {
      LOG.setLevel(null);
    }
    assertEquals(Collections.emptyList(), lines);
  }
}
