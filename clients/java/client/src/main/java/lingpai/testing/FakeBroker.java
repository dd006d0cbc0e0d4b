package lingpai.testing;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A broker in this process, on a port of loopback, for tests of services (R19). Its tokens are made up and live for two hours. It keeps to what a
 * {@link lingpai.LingpaiClient} needs: no keys, no TLS. Its methods may be called from any thread; its own threads are daemons.
 */
public final class FakeBroker implements AutoCloseable {
  private static final Duration GRACE = Duration.ofMinutes(5);
  /** Between heartbeats, in milliseconds. */
  private static final int HEARTBEAT_MS = 5_000;

  private static final Pattern STRING = Pattern.compile("\"([^\"]*)\"");
  private static final Pattern KNOWN = Pattern.compile("\"([^\"]*)\"\\s*:\\s*\"?(\\d+)\"?");

  /** An app: the values that were made, the newest last, and those that are refused. */
  private static final class App {
    final List<String> issued = new ArrayList<>();
    final Set<String> killed = new HashSet<>();

    String newest() {
      return issued.get(issued.size() - 1);
    }
  }

  /** A refusal, as Connect has it. */
  private static final class Refusal extends Exception {
    private static final long serialVersionUID = 1;
    final String code;
    final String json;

    Refusal(String code, String reason, String words, String app) {
      super(words);
      this.code = code.toLowerCase(Locale.ROOT);
      byte[] info = join(field(1, utf8(reason)), field(2, utf8("lingpai")), app.isEmpty() ? new byte[0] : field(3, join(field(1, utf8("app_id")), field(2, utf8(app)))));
      json = "{\"code\":\"" + this.code + "\",\"message\":\"" + words + "\",\"details\":[{\"type\":\"google.rpc.ErrorInfo\",\"value\":\""
          + Base64.getEncoder().withoutPadding().encodeToString(info) + "\"}]}";
    }

    int status() {
      switch (code) {
        case "unauthenticated":
          return 401;
        case "permission_denied":
          return 403;
        case "not_found":
          return 404;
        case "resource_exhausted":
          return 429;
        case "unavailable":
          return 503;
        default:
          return 500;
      }
    }

    private static byte[] field(int number, byte[] bytes) {
      return join(new byte[] {(byte) (number << 3 | 2), (byte) bytes.length}, bytes); // all of it is short
    }
  }

  /** A stream that is open, and the apps that it is of. */
  private static final class Watch {
    final OutputStream out;
    final Set<String> apps;

    Watch(OutputStream out, Set<String> apps) {
      this.out = out;
      this.apps = apps;
    }
  }

  private final Map<String, App> apps = new LinkedHashMap<>();
  private final Map<Socket, Watch> watches = new HashMap<>();
  private final Set<Socket> sockets = new HashSet<>();
  private Duration life = Duration.ofHours(2);
  private Refusal refusal;
  private ServerSocket server;
  private int port;
  private int reports;

  private FakeBroker() {}

  /**
   * Starts one that has a token of each of these apps. It does not know others. Throws UncheckedIOException where no port can be had.
   *
   * @param apps the WeChat app ids, none or more
   * @return the broker, which listens
   */
  public static FakeBroker start(String... apps) {
    FakeBroker broker = new FakeBroker();
    for (String app : apps) broker.add(app);
    broker.restart();
    return broker;
  }

  /** {@return what {@link lingpai.LingpaiClient#builder} takes: {@code http://127.0.0.1:PORT}} It stays the same after {@link #restart}. */
  public String target() {
    return "http://127.0.0.1:" + port;
  }

  /**
   * Knows an app from now on, and has a token of it.
   *
   * @param app the WeChat app id
   */
  public synchronized void add(String app) {
    if (apps.putIfAbsent(app, new App()) == null) rotate(app);
  }

  /**
   * Takes an app out of the configuration: streams are told that it is removed, and calls of it are answered with NOT_FOUND.
   *
   * @param app the WeChat app id
   */
  public synchronized void remove(String app) {
    of(app);
    apps.remove(app);
    tell(app, "\"removed\":{\"appId\":\"" + app + "\"}");
  }

  /**
   * Makes a new token, tells every stream, and returns the token's value. The one before it is honoured still.
   *
   * @param app the WeChat app id
   * @return the new token's value
   */
  public synchronized String rotate(String app) {
    App own = of(app);
    own.issued.add("FAKE_" + (UUID.randomUUID().toString() + UUID.randomUUID()).replace("-", ""));
    tell(app, state(app));
    return own.newest();
  }

  /**
   * How long a token lives that streams are told of from now on: two hours without it.
   *
   * @param life more than 0
   */
  public synchronized void setLife(Duration life) {
    this.life = life;
  }

  /**
   * {@return the newest token's value}
   *
   * @param app the WeChat app id
   */
  public synchronized String token(String app) {
    return of(app).newest();
  }

  /**
   * The tokens of now are refused from now on: a report makes a new one. Nobody is told.
   *
   * @param app the WeChat app id
   */
  public synchronized void kill(String app) {
    App own = of(app);
    own.killed.addAll(own.issued);
  }

  /**
   * {@return whether WeChat would take this value: the newest token or the one before it, unless it was killed}
   *
   * @param app the WeChat app id
   * @param value the value
   */
  public synchronized boolean honours(String app, String value) {
    App own = of(app);
    int size = own.issued.size();
    return own.issued.subList(Math.max(0, size - 2), size).contains(value) && !own.killed.contains(value);
  }

  /**
   * Asks each client to open its stream anew after so long, and ends the streams.
   *
   * @param reconnectAfter how long each waits, in whole milliseconds
   */
  public synchronized void drain(Duration reconnectAfter) {
    long ms = reconnectAfter.toMillis();
    String goaway = String.format(Locale.ROOT, "\"goaway\":{\"reconnectAfter\":\"%d.%03ds\"}", ms / 1000, ms % 1000);
    endWatches(goaway, "{}");
  }

  /**
   * Ends the streams with this error, and answers every call with it, until {@link #accept}. code: a gRPC code such as UNAUTHENTICATED; reason: an ErrorReason
   * such as COOLDOWN.
   *
   * @param code a gRPC code, such as UNAUTHENTICATED
   * @param reason an ErrorReason, such as COOLDOWN
   */
  public synchronized void refuse(String code, String reason) {
    refusal = new Refusal(code, reason, "the fake broker was told to refuse", "");
    endWatches(null, "{\"error\":" + refusal.json + "}");
  }

  /** Answers again. */
  public synchronized void accept() {
    refusal = null;
  }

  /** {@return how many ForceRefresh calls came} */
  public synchronized int reports() {
    return reports;
  }

  /** {@return how many streams are open} */
  public synchronized int streams() {
    return watches.size();
  }

  /** Is gone, with every connection, until {@link #restart}. */
  public synchronized void stop() {
    quietly(server);
    sockets.forEach(FakeBroker::quietly);
    watches.clear();
  }

  /** Is there again, on the same port, with the tokens it had. Throws UncheckedIOException where the port was taken. */
  public synchronized void restart() {
    try {
      server = new ServerSocket();
      server.setReuseAddress(true);
      server.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
      port = server.getLocalPort();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    ServerSocket listening = server;
    daemon(() -> listen(listening));
  }

  /** As {@link #stop}. */
  @Override
  public void close() {
    stop();
  }

  private App of(String app) {
    App own = apps.get(app);
    if (own == null) throw new IllegalArgumentException("the fake broker does not know " + app + ": name it by start() or add()");
    return own;
  }

  private void listen(ServerSocket listening) {
    try {
      while (true) {
        Socket socket = listening.accept();
        synchronized (this) {
          sockets.add(socket);
          if (listening.isClosed()) quietly(socket);
        }
        daemon(() -> serve(socket));
      }
    } catch (IOException stopped) {
      // nobody listens any more
    }
  }

  private void serve(Socket socket) {
    try {
      socket.setTcpNoDelay(true);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      String path = line(in).split(" ")[1];
      int length = 0;
      for (String header = line(in); !header.isEmpty(); header = line(in))
        if (header.toLowerCase(Locale.ROOT).startsWith("content-length:")) length = Integer.parseInt(header.substring(15).trim());
      byte[] body = new byte[length];
      in.readFully(body);
      if (path.endsWith("/WatchToken")) watch(socket, in, new String(body, 5, length - 5, StandardCharsets.UTF_8));
      else answer(socket, path, new String(body, StandardCharsets.UTF_8));
    } catch (IOException gone) {
      // the client left
    } finally {
      quietly(socket);
      synchronized (this) {
        sockets.remove(socket);
        watches.remove(socket);
      }
    }
  }

  private void answer(Socket socket, String path, String request) throws IOException {
    String status = "200 OK";
    String json;
    try {
      json = unary(path, request);
    } catch (Refusal refused) {
      status = refused.status() + " Refused";
      json = refused.json;
    }
    byte[] body = utf8(json);
    String head = "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + body.length + "\r\nConnection: close\r\n\r\n";
    socket.getOutputStream().write(join(utf8(head), body));
  }

  private synchronized String unary(String path, String request) throws Refusal {
    String app = string(request, "appId");
    boolean isReport = path.endsWith("/ForceRefresh");
    if (isReport) reports++;
    check(app);
    if (!isReport) return "{" + state(app) + "," + now() + "}";
    App own = apps.get(app);
    String rejected = string(request, "rejectedToken");
    boolean isNewest = rejected.isEmpty() ? string(request, "rejectedGeneration").equals(String.valueOf(own.issued.size())) : rejected.equals(own.newest());
    String outcome = !isNewest ? "ALREADY_NEWER" : own.killed.contains(own.newest()) ? "REFRESHED" : "STILL_VALID";
    if (outcome.equals("REFRESHED")) rotate(app);
    return "{" + state(app) + ",\"outcome\":\"FORCE_REFRESH_OUTCOME_" + outcome + "\"," + now() + "}";
  }

  private void watch(Socket socket, DataInputStream in, String request) throws IOException {
    OutputStream out = socket.getOutputStream();
    synchronized (this) {
      out.write(utf8("HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n"));
      Set<String> ids = new LinkedHashSet<>();
      Matcher listed = STRING.matcher(between(request, "appIds", '[', ']'));
      while (listed.find()) ids.add(listed.group(1));
      Map<String, Integer> known = new HashMap<>();
      Matcher pairs = KNOWN.matcher(between(request, "knownGenerations", '{', '}'));
      while (pairs.find()) known.put(pairs.group(1), Integer.parseInt(pairs.group(2)));
      try {
        for (String app : ids) check(app);
      } catch (Refusal refused) {
        envelope(out, 2, "{\"error\":" + refused.json + "}");
        return;
      }
      watches.put(socket, new Watch(out, ids));
      heartbeat(out);
      for (String app : ids) if (known.getOrDefault(app, 0) < of(app).issued.size()) envelope(out, 0, "{" + state(app) + "," + now() + "}");
    }
    socket.setSoTimeout(HEARTBEAT_MS);
    for (int read = 0; read >= 0; ) {
      try {
        read = in.read();
      } catch (SocketTimeoutException quiet) {
        synchronized (this) {
          heartbeat(out);
        }
      }
    }
  }

  private void check(String app) throws Refusal {
    if (refusal != null) throw refusal;
    if (!apps.containsKey(app)) throw new Refusal("NOT_FOUND", "APP_NOT_FOUND", "no app " + app.replaceAll("[^A-Za-z0-9_-]", "?") + " is configured", app);
  }

  private void tell(String app, String event) {
    watches.values().forEach(
        watch -> {
          if (watch.apps.contains(app)) send(watch, 0, "{" + event + "," + now() + "}");
        });
  }

  private void endWatches(String event, String last) {
    watches.forEach(
        (socket, watch) -> {
          if (event != null) send(watch, 0, "{" + event + "," + now() + "}");
          send(watch, 2, last);
          quietly(socket);
        });
    watches.clear();
  }

  private static void send(Watch watch, int flags, String json) {
    try {
      envelope(watch.out, flags, json);
    } catch (IOException gone) {
      // its own thread sees it too
    }
  }

  private static void heartbeat(OutputStream out) throws IOException {
    envelope(out, 0, "{\"heartbeat\":{\"asOf\":\"" + Instant.now() + "\"}," + now() + "}");
  }

  /** One message in one chunk. */
  private static void envelope(OutputStream out, int flags, String json) throws IOException {
    byte[] body = utf8(json);
    byte[] head = ByteBuffer.allocate(5).put((byte) flags).putInt(body.length).array();
    out.write(join(utf8(Integer.toHexString(5 + body.length) + "\r\n"), head, body, utf8("\r\n")));
    if (flags == 2) out.write(utf8("0\r\n\r\n"));
  }

  private String state(String app) {
    App own = of(app);
    int generation = own.issued.size();
    String previous = generation < 2 ? "" : ",\"previous\":" + token(own.issued.get(generation - 2), GRACE);
    return "\"state\":{\"appId\":\"" + app + "\",\"generation\":\"" + generation + "\",\"status\":\"TOKEN_STATUS_FRESH\",\"current\":"
        + token(own.newest(), life) + previous + "}";
  }

  private static String token(String value, Duration life) {
    return "{\"value\":\"" + value + "\",\"expireTime\":\"" + Instant.now().plus(life) + "\"}";
  }

  private static String now() {
    return "\"serverTime\":\"" + Instant.now() + "\"";
  }

  /** The string that stands by a name in JSON, or an empty one. What the client sends has no escapes in it. */
  private static String string(String json, String name) {
    Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
    return found.find() ? found.group(1) : "";
  }

  private static String between(String json, String name, char from, char to) {
    Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\\" + from + "([^\\" + to + "]*)\\" + to).matcher(json);
    return found.find() ? found.group(1) : "";
  }

  private static String line(DataInputStream in) throws IOException {
    StringBuilder line = new StringBuilder();
    for (int letter = in.readUnsignedByte(); letter != '\n'; letter = in.readUnsignedByte()) if (letter != '\r') line.append((char) letter);
    return line.toString();
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) all.write(part, 0, part.length);
    return all.toByteArray();
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static void quietly(AutoCloseable closed) {
    try {
      if (closed != null) closed.close();
    } catch (Exception ignored) {
      // it is gone all the same
    }
  }

  private static void daemon(Runnable work) {
    Thread thread = new Thread(work, "fake-broker");
    thread.setDaemon(true);
    thread.start();
  }
}
