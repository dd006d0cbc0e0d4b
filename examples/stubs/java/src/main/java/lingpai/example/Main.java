package lingpai.example;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.grpc.StatusException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/** A small service that always holds the newest access_token of one WeChat app. */
public final class Main {
  private static final Gson JSON = new GsonBuilder().disableHtmlEscaping().create();
  private static final String USAGE =
      """
      usage: java -jar target/token-service.jar --app ID [options]
        --addr ADDRESS          the broker's gRPC address, HOST:PORT or https://HOST:PORT (default LINGPAI_ADDR or 127.0.0.1:7600)
        --silence-seconds N     how long a stream may say nothing before it counts as dead (default 25)
        --report-once           demonstrate a refused token: calls that find the one held refused
      """;

  private String app = "";
  private String addr = System.getenv().getOrDefault("LINGPAI_ADDR", "127.0.0.1:7600");
  private Duration silence = Duration.ofSeconds(25);
  private boolean reportOnce;
  private Broker broker;

  public static void main(String[] args) {
    Main main = new Main();
    try {
      main.parse(args);
    } catch (IllegalArgumentException | ArrayIndexOutOfBoundsException wrong) {
      System.err.println("token-service: " + wrong.getMessage() + "\n" + USAGE);
      System.exit(2);
    }
    main.run();
  }

  private void parse(String[] args) {
    for (int i = 0; i < args.length; i++) {
      switch (args[i]) {
        case "--app" -> app = args[++i];
        case "--addr" -> addr = args[++i];
        case "--silence-seconds" -> silence = Duration.ofMillis((long) (Double.parseDouble(args[++i]) * 1000));
        case "--report-once" -> reportOnce = true;
        default -> throw new IllegalArgumentException("unknown argument " + args[i]);
      }
    }
    if (app.isEmpty()) throw new IllegalArgumentException("--app is required: the id of an app that the broker serves");
    broker = new Broker(addr, System.getenv());
  }

  private void run() {
    TokenSource source = new TokenSource(broker::dial, app, silence, Main::printEvent);
    try {
      source.load();
    } catch (StatusException error) {
      Failure failure = Failure.of(error);
      printEvent("error", failure.fields("get", failure.retryAfter()));
      if (failure.permanent()) {
        System.err.println("token-service: " + failure.message());
        System.exit(1);
      }
      // Anything else passes: the watch brings the token when there is one.
    }
    Thread main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(main)));
    if (reportOnce) demonstrateReport(source);
    try {
      source.run();
    } catch (InterruptedException stopped) {
      // The shutdown hook ends the process.
    }
  }

  /** The JVM runs this on SIGTERM and SIGINT, and then exits with 143 or 130. */
  private static void stop(Thread main) {
    main.interrupt();
    try {
      main.join(5_000);
    } catch (InterruptedException hurried) {
      Thread.currentThread().interrupt();
    }
    printEvent("stopped", Map.of());
  }

  /**
   * Makes three business calls with a token that is refused: two hear of it at once, one when they are over. A real one
   * asks WeChat with the token and throws {@link TokenRejectedException} for errcode 40001, 40014 or 42001.
   */
  private static void demonstrateReport(TokenSource source) {
    var begun = new CountDownLatch(3);
    var quick = new CountDownLatch(2);
    for (CountDownLatch answer : List.of(begun, begun, quick)) {
      var thread = new Thread(() -> demonstrateCall(source, begun, answer, quick));
      thread.setDaemon(true);
      thread.start();
    }
  }

  private static void demonstrateCall(
      TokenSource source, CountDownLatch begun, CountDownLatch answer, CountDownLatch quick) {
    boolean[] refused = {false};
    try {
      source.call(
          token -> {
            if (refused[0]) return null;
            refused[0] = true;
            begun.countDown();
            answer.await();
            throw new TokenRejectedException();
          });
      printEvent("call", Map.of("ok", true));
    } catch (Exception error) {
      Failure failure = Failure.of(error);
      printEvent("error", failure.fields("call", failure.retryAfter()));
    } finally {
      quick.countDown();
      if (!refused[0]) begun.countDown();
    }
  }

  /** Writes one JSON line. It is told of no secret. */
  private static synchronized void printEvent(String event, Map<String, Object> fields) {
    var line = new LinkedHashMap<String, Object>();
    line.put("event", event);
    line.putAll(fields);
    System.out.println(JSON.toJson(line));
  }
}
