package lingpai;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
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
  private volatile Socket socket;
  private volatile boolean isClosed;
  private InputStream in;
  /** By System.nanoTime(): a read that is not over by then fails. */
  private volatile long deadline;

  private int head;
  /** What is left of the body or of its chunk. */
  private long left;

  private boolean isChunked;
  private boolean isFirstChunk;

  Connection(Settings settings) {
    this.settings = settings;
  }

  /** What is read from now on must come within so many milliseconds. */
  void within(long ms) {
    deadline = System.nanoTime() + ms * 1_000_000;
  }

  /** Connects. Throws an RpcException. */
  void open() {
    long end = System.nanoTime() + settings.timing.connect * 1_000_000;
    try {
      connect(end);
      if (settings.isTls) secure(end);
      in = socket.getInputStream();
    } catch (UnknownHostException error) {
      throw RpcException.unavailable("no address of " + settings.host, error);
    } catch (SSLException error) {
      throw RpcException.broken("UNAVAILABLE", "TLS: " + error.getMessage(), error);
    } catch (IOException error) {
      throw RpcException.unavailable(settings.authority() + ": " + error.getMessage(), error);
    }
  }

  private void connect(long end) throws IOException {
    String host = settings.host.replaceAll("^\\[|]$", "");
    IOException last = null;
    for (InetAddress address : InetAddress.getAllByName(host)) {
      Socket plain = new Socket(java.net.Proxy.NO_PROXY);
      hold(plain);
      try {
        plain.setTcpNoDelay(true);
        plain.connect(new InetSocketAddress(address, settings.port), msUntil(end));
        return;
      } catch (IOException error) {
        plain.close();
        last = error;
      }
    }
    throw last == null ? new UnknownHostException(host) : last;
  }

  private void secure(long end) throws IOException {
    SSLSocket secured =
        (SSLSocket)
            Pem.context(settings.ca, settings.cert, settings.certKey)
                .getSocketFactory()
                .createSocket(socket, settings.host.replaceAll("^\\[|]$", ""), settings.port, true);
    hold(secured);
    SSLParameters parameters = secured.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    parameters.setProtocols(protocols(secured));
    secured.setSSLParameters(parameters);
    secured.setSoTimeout(msUntil(end));
    secured.startHandshake();
  }

  private static String[] protocols(SSLSocket secured) {
    return java.util.Arrays.stream(secured.getSupportedProtocols()).filter(name -> name.matches("TLSv1\\.[23]")).toArray(String[]::new);
  }

  private void hold(Socket held) throws IOException {
    socket = held;
    if (isClosed) {
      held.close();
      throw new IOException("the connection is closed");
    }
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
      Map<String, Object> message = Json.object(new String(bytes((int) length), StandardCharsets.UTF_8));
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
      return Json.object(new String(rest(), StandardCharsets.UTF_8));
    } catch (IOException error) {
      throw failed(error);
    }
  }

  /** Ends what is under way, from any thread. */
  @Override
  public void close() {
    isClosed = true;
    Socket held = socket;
    if (held == null) return;
    try {
      held.close();
    } catch (IOException ignored) {
      // it is closed all the same
    }
  }

  private RpcException failed(IOException error) {
    if (error instanceof SocketTimeoutException)
      return new RpcException("DEADLINE_EXCEEDED", "", "nothing came for too long: the connection must be dead", "", 0);
    // A server says only after the handshake that it does not take a client certificate.
    if (error instanceof SSLException && !isClosed) return RpcException.broken("UNAVAILABLE", "TLS: " + error.getMessage(), error);
    return RpcException.unavailable(String.valueOf(error.getMessage()), error);
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
    OutputStream out = socket.getOutputStream();
    out.write(all.toByteArray());
    out.flush();
  }

  /** Reads status and headers. Throws the RpcException of a refusal. */
  private Map<String, String> head(String contentType) throws IOException {
    head = 0;
    String[] status = line().split(" ", 3);
    if (status.length < 2 || !status[0].startsWith("HTTP/1.") || !status[1].matches("\\d{3}"))
      throw RpcException.unavailable("the answer is not HTTP/1.1: is this the HTTP port?", null);
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
    if (!type.startsWith("application/json"))
      throw new RpcException(code, "", "HTTP status " + number + ": is this the broker's HTTP port?", "", 0);
    begin(headers);
    throw errorOf(Json.object(new String(rest(), StandardCharsets.UTF_8)), code);
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
    socket.setSoTimeout(msUntil(deadline));
    from = 0;
    to = Math.max(0, in.read(buffer));
    if (to == 0) throw new IOException("the connection was closed");
  }

  private static int msUntil(long end) throws SocketTimeoutException {
    long ms = (end - System.nanoTime()) / 1_000_000;
    if (ms <= 0) throw new SocketTimeoutException("too late");
    return (int) Math.min(ms, Integer.MAX_VALUE);
  }

  /** An error of Connect: a code in small letters, words, and details that are protobuf in base64. */
  private static RpcException errorOf(Map<String, Object> error, String otherwise) {
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
