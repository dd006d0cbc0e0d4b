package lingpai;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;

/**
 * One socket, for one stream or one call: Connect over HTTP/1.1, as far as the broker's TokenService needs it
 * (https://connectrpc.com/docs/protocol). It is the library's own, since HttpURLConnection keeps connections for later calls, and
 * a connection that a middle box forgot must never be used again. It may be closed from any thread, which ends what is under way.
 */
final class Connection implements Closeable {
  /** The longest message and the longest head that are taken, in bytes. */
  private static final int MESSAGE_MAX = 4 << 20;

  private static final int HEAD_MAX = 64 << 10;

  private final Settings settings;
  private final Aside<InetAddress[]> addresses;
  private final ScheduledExecutorService timers;
  /** Fails once the connection is closed. */
  private final CompletableFuture<Void> end = new CompletableFuture<>();
  /** The socket below TLS: to close it waits for nobody, while TLS would wait for who is writing. */
  private volatile Socket plain;

  private volatile boolean isLate;
  private Future<?> guard;
  private boolean isLimited;
  private long limit;
  private OutputStream out;
  private InputStream in;
  private boolean isHeard;
  private boolean isAnswered;

  private int head;
  /** What is left of the body or of its chunk. */
  private long left;

  private boolean isChunked;
  private boolean isFirstChunk;

  Connection(Settings settings, Aside<InetAddress[]> addresses, ScheduledExecutorService timers) {
    this.settings = settings;
    this.addresses = addresses;
    this.timers = timers;
  }

  /** Whatever is done from now on, a look-up, a write or a read, must be over within so many milliseconds, and within the limit. */
  void within(long ms) {
    if (guard != null) guard.cancel(false);
    long ns = ms * 1_000_000;
    guard = timers.schedule(this::late, isLimited ? Math.min(ns, limit - System.nanoTime()) : ns, TimeUnit.NANOSECONDS);
  }

  /** All that is done must be over within so many milliseconds. */
  void limit(long ms) {
    isLimited = true;
    limit = System.nanoTime() + ms * 1_000_000;
    within(ms);
  }

  private void late() {
    isLate = true;
    close();
  }

  /** The key to show, read anew, or null. It may take as long as a call. Throws an RpcException: one that needs an operator where it cannot be read. */
  String bearer(Aside<String> keys) {
    within(settings.timing.call);
    try {
      return waitFor(keys);
    } catch (IOException error) {
      if (isLate) throw RpcException.broken("UNAUTHENTICATED", "the key cannot be read: it did not come in time", error);
      throw failed(error);
    }
  }

  /** Connects, within {@code timing.connect}. Throws an RpcException. */
  void open() {
    within(settings.timing.connect);
    try {
      connect(System.nanoTime() + settings.timing.connect * 1_000_000);
      Socket socket = settings.isTls ? secured() : plain;
      out = socket.getOutputStream();
      in = socket.getInputStream();
    } catch (UnknownHostException error) {
      throw isLate ? failed(error) : RpcException.unavailable("no address of " + settings.host, error);
    } catch (IOException error) {
      throw failed(error);
    }
  }

  private void connect(long deadline) throws IOException {
    InetAddress[] found = waitFor(addresses);
    IOException last = new UnknownHostException(settings.host);
    for (int index = 0; index < found.length; index++) {
      plain = new Socket(Proxy.NO_PROXY);
      if (end.isDone()) throw closed();
      try {
        plain.setTcpNoDelay(true);
        // Each gets its share of the time: the first may be one that answers nothing.
        long share = (deadline - System.nanoTime()) / 1_000_000 / (found.length - index);
        plain.connect(new InetSocketAddress(found[index], settings.port), (int) Math.max(1, share));
        return;
      } catch (IOException error) {
        plain.close();
        last = error;
      }
    }
    throw last;
  }

  /** What comes of it, unless the connection is closed before. */
  private <T> T waitFor(Aside<T> aside) throws IOException {
    CompletableFuture<T> result = aside.result();
    try {
      CompletableFuture.anyOf(result, end).get();
      return result.join();
    } catch (ExecutionException failed) {
      Throwable cause = failed.getCause();
      if (cause instanceof RpcException) throw (RpcException) cause;
      if (cause instanceof IOException) throw (IOException) cause;
      throw new IOException(String.valueOf(cause), cause);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", interrupted);
    }
  }

  private Socket secured() throws IOException {
    SSLSocket secured =
        (SSLSocket)
            Pem.context(settings.ca, settings.cert, settings.certKey).getSocketFactory().createSocket(plain, settings.host, settings.port, true);
    SSLParameters parameters = secured.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    parameters.setProtocols(Stream.of(secured.getSupportedProtocols()).filter(name -> name.matches("TLSv1\\.[23]")).toArray(String[]::new));
    secured.setSSLParameters(parameters);
    secured.startHandshake();
    return secured;
  }

  private static IOException closed() {
    return new IOException("the connection is closed");
  }

  /** Begins a stream; its messages come by {@link #next}. Throws an RpcException. */
  void stream(String method, String request, String bearer) {
    byte[] body = request.getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream enveloped = new ByteArrayOutputStream();
    enveloped.write(0);
    for (int shift = 24; shift >= 0; shift -= 8) enveloped.write(body.length >>> shift);
    enveloped.write(body, 0, body.length);
    try {
      post(method, "application/connect+json", enveloped.toByteArray(), bearer);
      Map<String, String> headers = head("application/connect+json");
      begin(headers);
    } catch (IOException error) {
      throw failed(error);
    }
  }

  /** The stream's next message. Throws an RpcException, at a clean end too. */
  Map<String, Object> next() {
    try {
      byte[] head = bytes(5);
      long length = 0;
      for (int index = 1; index < 5; index++) length = length << 8 | head[index] & 0xff;
      if (length > MESSAGE_MAX || (head[0] & 1) != 0)
        throw new RpcException("INTERNAL", "", "a message of " + length + " bytes with flags " + head[0] + " cannot be read", "", 0);
      Map<String, Object> message = Json.object(text(bytes((int) length)));
      if ((head[0] & 2) == 0) return message;
      if (message.containsKey("error")) throw errorOf(Json.asObject(message.get("error")), "UNKNOWN");
      throw RpcException.unavailable("the stream ended", null);
    } catch (IOException error) {
      throw failed(error);
    }
  }

  /** One call. Throws an RpcException. */
  Map<String, Object> unary(String method, String request, String bearer) {
    try {
      post(method, "application/json", request.getBytes(StandardCharsets.UTF_8), bearer);
      begin(head("application/json"));
      return Json.object(text(rest()));
    } catch (IOException error) {
      throw failed(error);
    }
  }

  /** Ends what is under way, from any thread. */
  @Override
  public void close() {
    end.completeExceptionally(closed());
    Socket held = plain;
    try {
      if (held != null) held.close();
    } catch (IOException ignored) {
      // it is closed all the same
    }
  }

  /** Ends it, and the clock that guards it. */
  void end() {
    if (guard != null) guard.cancel(false);
    close();
  }

  private RpcException failed(IOException error) {
    if (isLate)
      return new RpcException(
          "DEADLINE_EXCEEDED", "", settings.authority() + ": nothing came for too long: the connection must be dead", "", 0);
    if (isOfTls(error)) return RpcException.broken("UNAVAILABLE", settings.authority() + ": TLS: " + error.getMessage() + hint(error), error);
    return RpcException.unavailable(settings.authority() + ": " + error.getMessage(), error);
  }

  private static String hint(IOException error) {
    String words = String.valueOf(error.getMessage());
    if (words.contains("nrecognized SSL message")) return " (does this port speak TLS? else write http://)";
    return words.contains("PKIX") ? " (the signer is not trusted: name the file of its certificate by ca)" : "";
  }

  /**
   * Whether it is a matter of TLS, which somebody must mend: a handshake or a certificate. A server says only after the handshake that it does not take a
   * client certificate. A connection that broke is no such matter.
   */
  private boolean isOfTls(IOException error) {
    if (!(error instanceof SSLException) || isHeard || end.isDone()) return false;
    for (Throwable cause = error; cause != null; cause = cause.getCause())
      if (cause instanceof EOFException || cause instanceof SocketException) return false;
    return true;
  }

  private void post(String method, String contentType, byte[] body, String bearer) throws IOException {
    StringBuilder lines =
        new StringBuilder("POST /lingpai.v1.TokenService/").append(method).append(" HTTP/1.1\r\nHost: ").append(settings.authority());
    lines.append("\r\nContent-Type: ").append(contentType).append("\r\nContent-Length: ").append(body.length);
    lines.append("\r\nConnect-Protocol-Version: 1\r\nUser-Agent: lingpai-java/0.1.0\r\n");
    if (bearer != null) lines.append("Authorization: Bearer ").append(bearer).append("\r\n");
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.write(lines.append("\r\n").toString().getBytes(StandardCharsets.US_ASCII));
    all.write(body);
    out.write(all.toByteArray());
    out.flush();
  }

  /** Reads status and headers. Throws the RpcException of a refusal. */
  private Map<String, String> head(String contentType) throws IOException {
    head = 0;
    String[] status = line().split(" ", 3);
    if (status.length < 2 || !status[0].startsWith("HTTP/1.") || !status[1].matches("\\d{3}"))
      throw RpcException.unavailable("the answer is not HTTP/1.1: is this the broker's HTTP port" + (settings.isTls ? "?" : ", without TLS?"), null);
    isAnswered = true;
    Map<String, String> headers = new HashMap<>();
    for (String line = line(); !line.isEmpty(); line = line()) {
      int colon = line.indexOf(':');
      if (colon > 0) headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT).trim(), line.substring(colon + 1).trim());
    }
    String type = headers.getOrDefault("content-type", "");
    if (status[1].equals("200") && type.startsWith(contentType)) return headers;
    int number = Integer.parseInt(status[1]);
    boolean isBusy = number == 429 || number >= 502 && number <= 504;
    String code =
        number == 401 ? "UNAUTHENTICATED" : number == 403 ? "PERMISSION_DENIED" : number == 404 ? "UNIMPLEMENTED" : isBusy ? "UNAVAILABLE" : "UNKNOWN";
    RpcException stranger = new RpcException(code, "", "HTTP status " + number + ": is this the broker's HTTP port?", "", 0);
    if (!type.startsWith("application/json")) throw stranger;
    begin(headers);
    Map<String, Object> error = Json.object(text(rest()));
    throw error.get("code") instanceof String ? errorOf(error, code) : stranger;
  }

  private void begin(Map<String, String> headers) throws IOException {
    isChunked = headers.getOrDefault("transfer-encoding", "").equalsIgnoreCase("chunked");
    isFirstChunk = true;
    left = isChunked ? 0 : number(headers.getOrDefault("content-length", "0"), 10);
  }

  private String line() throws IOException {
    StringBuilder line = new StringBuilder();
    for (int letter = octet(); letter != '\n'; letter = octet()) {
      if (++head > HEAD_MAX) throw new IOException("the head of the answer is too long");
      if (letter != '\r') line.append((char) letter);
    }
    return line.toString();
  }

  /** The number of bytes that can be read of the body now, 0 at its end. */
  private long available() throws IOException {
    if (left > 0 || !isChunked) return left;
    head = 0;
    if (!isFirstChunk) line();
    isFirstChunk = false;
    left = number(line().split(";")[0].trim(), 16);
    if (left == 0) isChunked = false;
    return left;
  }

  private byte[] bytes(int count) throws IOException {
    byte[] bytes = new byte[count];
    for (int at = 0; at < count; ) {
      long some = available();
      if (some == 0) throw RpcException.unavailable("the stream ended", null);
      int read = read(bytes, at, (int) Math.min(some, count - at));
      at += read;
      left -= read;
    }
    return bytes;
  }

  private byte[] rest() throws IOException {
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    for (long some = available(); some > 0; some = available()) {
      if (body.size() + some > MESSAGE_MAX) throw new IOException("the answer is longer than " + MESSAGE_MAX + " bytes");
      body.write(bytes((int) some));
    }
    return body.toByteArray();
  }

  private static String text(byte[] utf8) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
    } catch (CharacterCodingException wrong) {
      throw new RpcException("INTERNAL", "", "a message is not UTF-8", "", 0);
    }
  }

  private static long number(String text, int radix) throws IOException {
    try {
      long number = Long.parseLong(text, radix);
      if (number >= 0 && number <= MESSAGE_MAX + 5) return number;
    } catch (NumberFormatException wrong) {
      // told below
    }
    throw new IOException("a length that cannot be: " + text.substring(0, Math.min(20, text.length())));
  }

  private final byte[] buffer = new byte[8192];
  private int from;
  private int to;

  private int octet() throws IOException {
    if (from == to) fill();
    return buffer[from++] & 0xff;
  }

  private int read(byte[] into, int at, int count) throws IOException {
    if (from == to) fill();
    int some = Math.min(count, to - from);
    System.arraycopy(buffer, from, into, at, some);
    from += some;
    return some;
  }

  private void fill() throws IOException {
    from = 0;
    to = Math.max(0, in.read(buffer));
    if (to == 0) throw new IOException(isAnswered ? "the connection was closed" : "the connection was closed before an answer: is this the broker's HTTP port" + (settings.isTls ? "?" : ", without TLS?"));
    isHeard = true;
  }

  /** An error of Connect: a code in small letters, words, and details that are protobuf in base64. */
  static RpcException errorOf(Map<String, Object> error, String otherwise) {
    String reason = "";
    String app = "";
    long retryAfterMs = 0;
    for (Object each : Json.asList(error.get("details"))) {
      Map<String, Object> detail = Json.asObject(each);
      String type = Json.asString(detail.get("type"));
      try {
        Protobuf packed = new Protobuf(Base64.getDecoder().decode(Json.asString(detail.get("value"))));
        if (type.endsWith("google.rpc.ErrorInfo")) {
          reason = packed.text(1);
          app = packed.entry(3, "app_id");
        }
        if (type.endsWith("google.rpc.RetryInfo")) retryAfterMs = packed.durationMs(1);
      } catch (IllegalArgumentException | IndexOutOfBoundsException unreadable) {
        continue; // details that cannot be read say nothing
      }
    }
    String code = Json.asString(error.get("code")).toUpperCase(Locale.ROOT);
    String named = code.isEmpty() ? otherwise : code.equals("CANCELED") ? "CANCELLED" : code;
    return new RpcException(named, reason, Json.asString(error.get("message")), app, retryAfterMs);
  }
}
