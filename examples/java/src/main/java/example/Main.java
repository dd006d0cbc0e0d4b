package example;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import lingpai.ConfigurationException;
import lingpai.Event;
import lingpai.LingpaiClient;
import lingpai.LingpaiException;
import lingpai.RpcException;
import lingpai.TokenRejectedException;
import lingpai.TokenSource;

/** A small service that calls WeChat every few seconds, with the token of one app that a Lingpai broker pushes to it. */
public final class Main {
  /** What the library calls its options, and where this service has them from. */
  private static final Map<String, String> VARIABLES =
      Map.of("target", "LINGPAI_ADDR", "app", "--app", "key", "LINGPAI_KEY", "certificate", "LINGPAI_CERT, LINGPAI_CERT_KEY", "ca", "LINGPAI_CA");

  private static final Pattern ERRCODE = Pattern.compile("\"errcode\"\\s*:\\s*(-?\\d{1,9})\\b");

  private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
  private final CountDownLatch stopping = new CountDownLatch(1);
  private final CountDownLatch stopped = new CountDownLatch(1);
  private final String weChat = variable("WECHAT_URL", "https://api.weixin.qq.com");
  private String app;
  private long everyMs = 5_000;
  private LingpaiClient client;

  public static void main(String[] args) throws InterruptedException {
    Main main = new Main();
    try {
      main.parse(args);
      main.start();
    } catch (IllegalArgumentException wrong) {
      end(2, wrong.getMessage());
    } catch (ConfigurationException wrong) {
      String words = wrong.getMessage().substring(wrong.option().length()).replace("set plaintext", "set LINGPAI_PLAINTEXT=1");
      end(2, VARIABLES.getOrDefault(wrong.option(), wrong.option()) + words);
    } catch (LingpaiException failed) {
      boolean isRpc = failed instanceof RpcException;
      String code = isRpc ? ((RpcException) failed).code() : failed.getClass().getSimpleName().replace("Exception", "");
      print("error", "during", "start", "code", code, "reason", isRpc ? ((RpcException) failed).reason() : "", "message", failed.getMessage());
      end(1, failed.getMessage());
    }
    main.work();
  }

  private void parse(String[] args) {
    for (int at = 0; at < args.length; at += 2) {
      if (at + 1 == args.length) throw new IllegalArgumentException(args[at] + " has no value: write one behind it");
      if (args[at].equals("--app")) app = args[at + 1];
      else if (args[at].equals("--every-ms")) everyMs = milliseconds(args[at + 1]);
      else throw new IllegalArgumentException(args[at] + " is no flag: write --app ID, --every-ms N");
    }
    if (app == null) throw new IllegalArgumentException("--app is required: the id of an app that the broker serves");
    if (!weChat.matches("https?://[^/?#\\s]+/?")) throw new IllegalArgumentException("WECHAT_URL: write where WeChat is, such as https://api.weixin.qq.com");
  }

  private static long milliseconds(String text) {
    if (!text.matches("[1-9]\\d{0,8}")) throw new IllegalArgumentException("--every-ms: write milliseconds, at least 1");
    return Long.parseLong(text);
  }

  private static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  /** Makes the client, which waits for the first token. */
  private void start() {
    LingpaiClient.Builder builder =
        LingpaiClient.builder(variable("LINGPAI_ADDR", "http://127.0.0.1:7680")).app(app).startTimeout(Duration.ofSeconds(30)).observer(Main::tell);
    String key = variable("LINGPAI_KEY", null);
    String keyFile = variable("LINGPAI_KEY_FILE", null);
    String ca = variable("LINGPAI_CA", null);
    String cert = variable("LINGPAI_CERT", null);
    String certKey = variable("LINGPAI_CERT_KEY", null);
    if (key != null) builder.key(key);
    if (keyFile != null) builder.keyFile(keyFile);
    if (ca != null) builder.ca(ca);
    if (cert != null || certKey != null) builder.certificate(cert, certKey);
    if (variable("LINGPAI_PLAINTEXT", "").equals("1")) builder.plaintext();
    client = builder.build();
  }

  private void work() throws InterruptedException {
    Runtime.getRuntime().addShutdownHook(new Thread(this::stop));
    TokenSource source = client.app(app);
    do {
      String[] id = {""};
      try {
        source.call(
            token -> {
              id[0] = source.token().id();
              return callWeChat(token);
            });
        print("call", "ok", true, "token_id", id[0]);
      } catch (Exception failed) {
        print("call", "ok", false, "token_id", id[0], "message", failed.getMessage() == null ? failed.toString() : failed.getMessage());
      }
    } while (!stopping.await(everyMs, TimeUnit.MILLISECONDS));
    client.close();
    stopped.countDown();
  }

  /** The JVM runs this on SIGTERM and SIGINT, and then exits with 143 or 130. */
  private void stop() {
    stopping.countDown();
    try {
      if (!stopped.await(5, TimeUnit.SECONDS)) client.close();
    } catch (InterruptedException hurried) {
      Thread.currentThread().interrupt();
    }
    print("stopped");
  }

  /** A call that needs nothing but a token. Throws TokenRejectedException where WeChat refused the token. */
  private String callWeChat(String token) throws IOException, InterruptedException {
    URI url = URI.create(weChat.replaceAll("/$", "") + "/cgi-bin/get_api_domain_ip?access_token=" + token);
    HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(10)).build();
    String answer = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
    Matcher found = ERRCODE.matcher(answer); // a service that does more has a reader of JSON
    int errcode = found.find() ? Integer.parseInt(found.group(1)) : 0;
    TokenRejectedException.throwIf(errcode);
    if (errcode != 0) throw new IOException("WeChat answers errcode " + errcode);
    return answer;
  }

  /** Prints what the library tells. */
  private static void tell(Event event) {
    switch (event.type()) {
      case STATE ->
          print("state", "app", event.app(), "state", event.state(), "generation", Long.toUnsignedString(event.generation()),
              "token_id", event.tokenId(), "reason", event.reason());
      case RECONNECT -> print("reconnect");
      case GOAWAY -> print("goaway", "after_ms", event.afterMs());
      case REPORT -> print("report", "app", event.app(), "outcome", event.outcome());
      case ERROR -> print("error", "during", event.during(), "code", event.code(), "reason", event.reason(), "retry_in_ms", event.afterMs());
      default -> { } // a later library may tell of more
    }
  }

  private static void end(int code, String words) {
    System.err.println("token-service: " + words);
    System.exit(code);
  }

  /** Prints one line of JSON: names, each followed by its value. It is told of no secret. */
  private static synchronized void print(String event, Object... fields) {
    StringBuilder line = new StringBuilder("{\"event\":").append(quoted(event));
    for (int at = 0; at < fields.length; at += 2) {
      Object value = fields[at + 1];
      line.append(',').append(quoted((String) fields[at])).append(':').append(value instanceof String ? quoted((String) value) : value);
    }
    System.out.println(line.append('}'));
  }

  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char letter : text.toCharArray())
      if (letter < ' ' || letter == '"' || letter == '\\') quoted.append(String.format("\\u%04x", (int) letter));
      else quoted.append(letter);
    return quoted.append('"').toString();
  }
}
