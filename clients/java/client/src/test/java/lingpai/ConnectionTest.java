package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(20)
class ConnectionTest {
  private static final ScheduledThreadPoolExecutor TIMERS = new ScheduledThreadPoolExecutor(1, ConnectionTest::daemon);

  private static Thread daemon(Runnable work) {
    Thread thread = new Thread(work, "test-timers");
    thread.setDaemon(true);
    return thread;
  }

  private static Connection to(LingpaiClient.Builder builder, Callable<InetAddress[]> lookup) {
    return new Connection(new Settings(builder), new Aside<>("lingpai-dns", lookup), TIMERS);
  }

  private static Connection to(RawServer server) {
    return to(server.client(), () -> InetAddress.getAllByName("127.0.0.1"));
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  /** What a stream's messages, given as raw envelopes, come to. */
  static RpcException streamed(byte[] envelopes) throws IOException {
    ByteArrayOutputStream answer = new ByteArrayOutputStream();
    answer.write(bytes("HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n"));
    answer.write(bytes(Integer.toHexString(envelopes.length) + "\r\n"));
    answer.write(envelopes);
    answer.write(bytes("\r\n0\r\n\r\n"));
    return read(answer.toByteArray());
  }

  private static RpcException read(byte[] answer) throws IOException {
    try (RawServer server = new RawServer(answer, true);
        Connection connection = to(server)) {
      connection.open();
      return assertThrows(
          RpcException.class,
          () -> {
            connection.stream("WatchToken", "{}", null);
            while (true) connection.next();
          });
    }
  }

  private static byte[] envelope(int flags, byte[] message) {
    return ByteBuffer.allocate(5 + message.length).put((byte) flags).putInt(message.length).put(message).array();
  }

  @Test
  void aLookUpThatHangsIsLeftInTime() {
    Timing timing = new Timing();
    timing.connect = 50;
    CountDownLatch never = new CountDownLatch(1);
    int[] lookups = {0};
    LingpaiClient.Builder builder = LingpaiClient.builder("http://broker:1").app("wx1");
    Settings settings = new Settings(builder.timing(timing));
    Aside<InetAddress[]> addresses =
        new Aside<>(
            "lingpai-dns",
            () -> {
              lookups[0]++;
              hang(never);
              throw new UnknownHostException("broker");
            });
    for (int attempt = 0; attempt < 3; attempt++) {
      RpcException error = assertThrows(RpcException.class, () -> new Connection(settings, addresses, TIMERS).open());
      assertEquals("DEADLINE_EXCEEDED", error.code());
    }
    assertEquals(1, lookups[0], "look-ups under way");
    never.countDown();
  }

  @Test
  void aKeyThatDoesNotComeIsNotWaitedFor() {
    CountDownLatch never = new CountDownLatch(1);
    Aside<String> keys =
        new Aside<>(
            "lingpai-key",
            () -> {
              hang(never);
              return "key";
            });
    Connection connection = to(LingpaiClient.builder("http://127.0.0.1:1").app("wx1"), () -> new InetAddress[0]);
    connection.limit(50); // of a call, which is over before the ten seconds of a key
    RpcException error = assertThrows(RpcException.class, () -> connection.bearer(keys));
    assertEquals("UNAUTHENTICATED: the key cannot be read: it did not come in time", error.getMessage());
    assertTrue(error.needsOperator());
    never.countDown();
  }

  @Test
  void closeInterruptsALookUp() {
    CountDownLatch never = new CountDownLatch(1);
    Connection[] connection = new Connection[1];
    connection[0] =
        to(
            LingpaiClient.builder("http://broker:1").app("wx1"),
            () -> {
              connection[0].close();
              hang(never);
              return new InetAddress[0];
            });
    assertEquals("UNAVAILABLE", assertThrows(RpcException.class, connection[0]::open).code());
    never.countDown();
  }

  private static void hang(CountDownLatch until) {
    try {
      until.await();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void aHostWithoutAnAddressIsNamed() {
    Connection connection =
        to(
            LingpaiClient.builder("http://no-such-broker:1").app("wx1"),
            () -> {
              throw new UnknownHostException("no-such-broker");
            });
    assertEquals("UNAVAILABLE: no address of no-such-broker", assertThrows(RpcException.class, connection::open).getMessage());
  }

  @Test
  void theNextAddressIsTriedWhereOneRefuses() throws IOException {
    try (RawServer server = new RawServer(null, false);
        Connection connection =
            to(server.client(), () -> new InetAddress[] {InetAddress.getByName("127.0.0.2"), InetAddress.getByName("127.0.0.1")})) {
      connection.open();
    }
  }

  @Test
  void aWriteThatNobodyReadsEndsInTime() throws IOException {
    try (RawServer server = new RawServer(null, false);
        Connection connection = to(server)) {
      connection.open();
      connection.within(50);
      String large = String.join("", Collections.nCopies(8 << 20, "x"));
      RpcException error = assertThrows(RpcException.class, () -> connection.stream("WatchToken", large, null));
      assertEquals("DEADLINE_EXCEEDED", error.code());
    }
  }

  @Test
  void anAnswerThatDoesNotComeEndsInTime() throws IOException {
    try (RawServer server = new RawServer(bytes("HTTP/1.1 200 OK\r\nContent-"), false);
        Connection connection = to(server)) {
      connection.open();
      connection.within(50);
      assertEquals("DEADLINE_EXCEEDED", assertThrows(RpcException.class, () -> connection.unary("Get", "{}", null)).code());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"SSH-2.0-OpenSSH_9\r\n", "\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"})
  void anotherServerIsSeen(String answer) throws IOException {
    assertEquals("UNAVAILABLE: the answer is not HTTP/1.1: is this the broker's HTTP port, without TLS?", read(bytes(answer)).getMessage());
  }

  @ParameterizedTest
  @CsvSource({"401, UNAUTHENTICATED, true", "403, PERMISSION_DENIED, true", "404, UNIMPLEMENTED, true", "302, UNKNOWN, false", "429, UNAVAILABLE, false", "503, UNAVAILABLE, false", "200, UNKNOWN, false"})
  void anAnswerThatIsNotTheBrokersHasACode(String status, String code, boolean needsOperator) throws IOException {
    RpcException error = read(bytes("HTTP/1.1 " + status + " X\r\nContent-Type: text/html\r\nLocation: http://127.0.0.1:1/\r\n\r\n<html>"));
    assertEquals(code + ": HTTP status " + status + ": is this the broker's HTTP port?", error.getMessage());
    assertEquals(needsOperator, error.needsOperator());
  }

  @Test
  void jsonOfAnotherServerIsNoErrorOfTheBroker() throws IOException {
    String answer = "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"errcode\":404}";
    assertEquals("UNKNOWN: HTTP status 200: is this the broker's HTTP port?", read(bytes(String.format(answer, 200))).getMessage());
    assertEquals("UNIMPLEMENTED: HTTP status 404: is this the broker's HTTP port?", read(bytes(String.format(answer, 404))).getMessage());
  }

  /** A gRPC port says "settings" in HTTP/2, and closes. */
  @ParameterizedTest
  @ValueSource(strings = {"", "\u0000\u0000\u0000\u0004\u0000\u0000\u0000\u0000\u0000"})
  void aConnectionThatIsClosedAtOnceIsPerhapsToAnotherPort(String answer) throws IOException {
    String message = read(bytes(answer)).getMessage();
    assertTrue(message.endsWith(": the connection was closed before an answer: is this the broker's HTTP port, without TLS?"), message);
  }

  @Test
  void tlsToAPortWithoutItIsSeen() throws IOException {
    try (RawServer server = new RawServer(bytes("HTTP/1.1 400 Bad Request\r\n\r\n"), false, 1)) {
      Connection connection = to(LingpaiClient.builder("https://" + server.authority()).app("wx1"), () -> InetAddress.getAllByName("127.0.0.1"));
      RpcException error = assertThrows(RpcException.class, connection::open);
      assertTrue(error.getMessage().endsWith("(does this port speak TLS? else write http://)"), error.getMessage());
      assertTrue(error.needsOperator());
    }
  }

  @Test
  void aFileWithoutACertificateIsNamed(@TempDir Path folder) throws IOException {
    Path file = Files.createFile(folder.resolve("ca.pem"));
    RpcException error = assertThrows(RpcException.class, () -> Pem.context(file.toString(), null, null));
    assertEquals("UNAUTHENTICATED: the certificates cannot be used: " + file + " has no certificate in PEM", error.getMessage());
    Files.write(file, bytes("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"));
    assertTrue(assertThrows(RpcException.class, () -> Pem.context(file.toString(), null, null)).getMessage().endsWith(file + " has no certificate in PEM"));
  }

  @Test
  void aHeadHasABound() throws IOException {
    String line = "X: " + String.join("", Collections.nCopies(1_000, "x")) + "\r\n";
    String head = "HTTP/1.1 200 OK\r\n" + String.join("", Collections.nCopies(70, line)) + "\r\n";
    assertTrue(read(bytes(head)).getMessage().contains("the head of the answer is too long"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"ffffffff", "-1", "x", ""})
  void aChunkHasABound(String size) throws IOException {
    String head = "HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    assertTrue(read(bytes(head + size + "\r\n")).getMessage().contains("a length that cannot be"));
  }

  @Test
  void aStreamThatEndsHasFailed() throws IOException {
    assertEquals("UNAVAILABLE: the stream ended", streamed(envelope(2, bytes("{}"))).getMessage());
    assertEquals("UNAVAILABLE: the stream ended", streamed(new byte[0]).getMessage());
    assertEquals("UNAVAILABLE: the stream ended", streamed(new byte[] {0, 0, 0, 0, 9, '{'}).getMessage());
  }

  @Test
  void aMessageThatIsNoneIsAnError() throws IOException {
    assertEquals("INTERNAL: a message is no JSON object", streamed(envelope(0, bytes("[]"))).getMessage());
    assertEquals("INTERNAL: a message is not UTF-8", streamed(envelope(0, bytes("{\"a\":\"\u00ff\"}"))).getMessage());
    assertEquals("INTERNAL", streamed(envelope(1, bytes("{}"))).code());
  }
}
