package conformance;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import lingpai.ClosedException;
import lingpai.ConfigurationException;
import lingpai.Event;
import lingpai.LingpaiClient;
import lingpai.NoTokenException;
import lingpai.RpcException;
import lingpai.StartTimeoutException;
import lingpai.Stats;
import lingpai.Timing;
import lingpai.Token;
import lingpai.TokenRejectedException;
import lingpai.TokenSource;

/** The kit's driver of this library: test/conformance/README.md says what it answers. */
public final class Driver {
  /** A client, and what it told. */
  private static final class Entry {
    LingpaiClient client;
    final List<Object> events = new ArrayList<>();
    final Map<String, Token> seen = new ConcurrentHashMap<>();

    synchronized void told(Event event) {
      events.add(
          map("type", event.type().name().toLowerCase(), "app", event.app(), "state", event.state(), "outcome", event.outcome(),
              "reason", event.reason(), "code", event.code(), "during", event.during(), "tokenId", event.tokenId(),
              "generation", Long.toUnsignedString(event.generation()), "afterMs", event.afterMs(), "retryInMs", event.afterMs()));
    }

    synchronized List<Object> take() {
      List<Object> taken = new ArrayList<>(events);
      events.clear();
      return taken;
    }

    Map<String, Object> shown(Token token) {
      String generation = Long.toUnsignedString(token.generation());
      seen.put(generation, token);
      Map<String, Object> shown = map("generation", generation, "tokenId", idOf(token.value()));
      if (token.previous() != null) shown.put("previousId", idOf(token.previous().value()));
      return shown;
    }
  }

  /** An error of the user's own business. */
  private static final class BusinessException extends RuntimeException {
    private static final long serialVersionUID = 1;

    BusinessException(String errcode) {
      super(errcode);
    }
  }

  /** A wait that was over too soon. */
  private static final class LateException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  private static final Map<String, Entry> CLIENTS = new ConcurrentHashMap<>();
  private static long sum;

  private Driver() {}

  /**
   * Answers requests until its input ends.
   *
   * @param args none
   * @throws IOException where the input cannot be read
   */
  public static void main(String[] args) throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      Map<String, Object> request = parse(line);
      if (request.get("op").equals("leaks")) { // not on a thread, which would count itself
        answer(request);
      } else {
        Thread thread = new Thread(() -> answer(request));
        thread.setDaemon(true);
        thread.start();
      }
    }
    CLIENTS.values().forEach(entry -> entry.client.close());
  }

  private static void answer(Map<String, Object> request) {
    Map<String, Object> line = map("id", ((Double) request.get("id")).intValue());
    List<String> ids = new ArrayList<>();
    try {
      line.put("ok", ask(request, ids));
    } catch (Exception error) {
      Map<String, Object> explained = explain(error);
      if (request.get("op").equals("call")) {
        explained.put("attempts", ids.size());
        explained.put("tokenIds", ids);
      }
      line.put("error", explained);
    }
    synchronized (System.out) {
      System.out.println(json(line));
    }
  }

  private static Object ask(Map<String, Object> request, List<String> ids) throws Exception {
    String op = text(request, "op");
    if (op.equals("hello")) return map("name", "java", "version", "0.1.0", "transport", "connect", "capabilities", list("tls"));
    if (op.equals("create")) return create(request);
    if (op.equals("leaks")) return leaks();
    Entry entry = CLIENTS.get(text(request, "client"));
    if (op.equals("stats")) return stats(entry.client.stats());
    if (op.equals("events")) return map("events", entry.take());
    if (op.equals("close")) {
      entry.client.close();
      if (Boolean.TRUE.equals(request.get("forget"))) CLIENTS.remove(text(request, "client"));
      return map();
    }
    TokenSource source = entry.client.app(text(request, "app"));
    String generation = text(request, "generation");
    switch (op) {
      case "token":
        return entry.shown(source.token());
      case "wait":
        long ms = ((Double) request.get("timeoutMs")).longValue();
        Token held = source.await(Long.parseUnsignedLong(generation), ms, TimeUnit.MILLISECONDS);
        if (held == null) throw new LateException();
        return entry.shown(held);
      case "call":
        source.call(token -> business(token, (List<?>) request.get("script"), ids));
        return map("attempts", ids.size(), "tokenIds", ids);
      case "report":
        Token seen = generation == null ? null : entry.seen.get(generation);
        TokenSource.Report report = source.report(seen == null ? source.token() : seen);
        Map<String, Object> shown = entry.shown(report.token());
        shown.put("outcome", report.outcome());
        return shown;
      case "bench":
        int reads = ((Double) request.get("reads")).intValue();
        long start = System.nanoTime();
        for (int read = 0; read < reads; read++) sum += source.token().value().length();
        return map("nsPerRead", (System.nanoTime() - start) / (double) reads);
      default:
        throw new IllegalArgumentException("no such op");
    }
  }

  private static Void business(String token, List<?> script, List<String> ids) {
    ids.add(idOf(token));
    String result = ids.size() <= script.size() ? (String) script.get(ids.size() - 1) : "ok";
    if (result.equals("ok")) return null;
    TokenRejectedException.throwIf(Integer.parseInt(result));
    throw new BusinessException(result);
  }

  private static Object create(Map<String, Object> request) throws ReflectiveOperationException {
    Map<String, Object> options = object(request.get("options"));
    Map<String, Object> tls = object(options.get("tls"));
    Entry entry = new Entry();
    LingpaiClient.Builder builder = LingpaiClient.builder(text(options, "target")).observer(entry::told);
    for (Object app : (List<?>) options.get("apps")) builder.app((String) app);
    if (options.get("startTimeoutMs") != null)
      builder.startTimeout(Duration.ofMillis(((Double) options.get("startTimeoutMs")).longValue()));
    if (Boolean.TRUE.equals(options.get("startOptional"))) builder.startOptional();
    if (Boolean.TRUE.equals(options.get("plaintext"))) builder.plaintext();
    if (tls.get("ca") != null) builder.ca(text(tls, "ca"));
    if (tls.get("cert") != null) builder.certificate(text(tls, "cert"), text(tls, "key"));
    if (options.get("keyFile") != null) builder.keyFile(text(options, "keyFile"));
    Timing timing = new Timing();
    for (Map.Entry<String, Object> clock : object(options.get("timing")).entrySet()) {
      Field field = Timing.class.getField(clock.getKey().replaceAll("Ms$", ""));
      field.setLong(timing, ((Double) clock.getValue()).longValue());
    }
    entry.client = builder.timing(timing).build();
    CLIENTS.put(text(request, "client"), entry);
    return map();
  }

  /** Threads of the JVM itself come and go: those with this library's names are counted. */
  private static Object leaks() {
    System.gc();
    long threads = Thread.getAllStackTraces().keySet().stream().filter(thread -> thread.getName().startsWith("lingpai")).count();
    String[] files = new File("/proc/self/fd").list();
    return map("threads", threads, "files", files == null ? 0 : files.length);
  }

  private static Object stats(Stats stats) {
    Map<String, Object> apps = map();
    stats.apps().forEach(
        (app, one) ->
            apps.put(
                app,
                map("state", one.state(), "generation", Long.toUnsignedString(one.generation()), "tokenId", one.tokenId(), "reason", one.reason())));
    return map("state", stats.state(), "attempts", stats.attempts(), "reconnects", stats.reconnects(), "goaways", stats.goaways(),
        "reports", stats.reports(), "apps", apps);
  }

  private static Map<String, Object> explain(Exception error) {
    Map<String, Object> explained = map("kind", "Other", "message", String.valueOf(error.getMessage()));
    if (error instanceof NoTokenException) {
      explained.put("kind", "NoToken");
      explained.put("reason", ((NoTokenException) error).reason().name());
    } else if (error instanceof LateException) {
      explained.put("kind", "NoToken");
      explained.put("reason", "TIMEOUT");
    } else if (error instanceof ClosedException) {
      explained.put("kind", "Closed");
    } else if (error instanceof StartTimeoutException) {
      explained.put("kind", "StartTimeout");
    } else if (error instanceof ConfigurationException) {
      explained.put("kind", "Configuration");
    } else if (error instanceof TokenRejectedException) {
      explained.put("kind", "Rejected");
      explained.put("code", String.valueOf(((TokenRejectedException) error).errcode()));
    } else if (error instanceof RpcException) {
      explained.put("kind", "Rpc");
      explained.put("code", ((RpcException) error).code());
      explained.put("reason", ((RpcException) error).reason());
    } else if (error instanceof BusinessException) {
      explained.put("code", error.getMessage());
    } else {
      explained.put("message", error.toString());
    }
    return explained;
  }

  private static String idOf(String value) {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(value.getBytes(StandardCharsets.UTF_8));
      StringBuilder id = new StringBuilder();
      for (int index = 0; index < 6; index++) id.append(String.format("%02x", digest[index]));
      return id.toString();
    } catch (GeneralSecurityException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static Map<String, Object> map(Object... pairs) {
    Map<String, Object> map = new LinkedHashMap<>();
    for (int index = 0; index < pairs.length; index += 2) map.put((String) pairs[index], pairs[index + 1]);
    return map;
  }

  private static List<Object> list(Object... values) {
    List<Object> list = new ArrayList<>();
    for (Object value : values) list.add(value);
    return list;
  }

  private static String text(Map<String, Object> from, String name) {
    return (String) from.get(name);
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> object(Object value) {
    return value == null ? map() : (Map<String, Object>) value;
  }

  /** The library's own reader of JSON, which nobody else needs. */
  private static Map<String, Object> parse(String line) {
    try {
      Method parse = Class.forName("lingpai.Json").getDeclaredMethod("object", String.class);
      parse.setAccessible(true);
      return object(parse.invoke(null, line));
    } catch (ReflectiveOperationException wrong) {
      Throwable cause = wrong instanceof InvocationTargetException ? wrong.getCause() : wrong;
      throw new IllegalStateException(cause);
    }
  }

  private static String json(Object value) {
    if (value instanceof Map) {
      List<String> parts = new ArrayList<>();
      ((Map<?, ?>) value).forEach((name, part) -> parts.add(json(name) + ":" + json(part)));
      return "{" + String.join(",", parts) + "}";
    }
    if (value instanceof List) {
      List<String> parts = new ArrayList<>();
      for (Object part : (List<?>) value) parts.add(json(part));
      return "[" + String.join(",", parts) + "]";
    }
    if (!(value instanceof String)) return String.valueOf(value);
    StringBuilder quoted = new StringBuilder("\"");
    for (char letter : ((String) value).toCharArray())
      if (letter < ' ' || letter == '"' || letter == '\\') quoted.append(String.format("\\u%04x", (int) letter));
      else quoted.append(letter);
    return quoted.append('"').toString();
  }
}
