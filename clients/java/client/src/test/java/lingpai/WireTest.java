package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The kit's golden vectors: test/conformance/wire/README.md says what is done with them. */
class WireTest {
  private static Map<String, Object> vectors() throws IOException {
    byte[] file = Files.readAllBytes(Paths.get("../../../test/conformance/wire/vectors.json"));
    return Json.object(new String(file, StandardCharsets.UTF_8));
  }

  private static Stream<DynamicTest> each(List<?> vectors, Consumer<Map<String, Object>> test) {
    return vectors.stream().map(Json::asObject).map(vector -> DynamicTest.dynamicTest(name(vector), () -> test.accept(vector)));
  }

  private static String name(Map<String, Object> vector) {
    return Json.asString(vector.getOrDefault("name", vector.get("head")));
  }

  /** Without what JSON may leave out. */
  private static Map<String, Object> terse(Map<String, Object> message) {
    message.values().removeIf(value -> value instanceof Map && ((Map<?, ?>) value).isEmpty());
    return message;
  }

  @TestFactory
  Stream<DynamicTest> requests() throws IOException {
    List<Object> sent = new ArrayList<>(Json.asList(vectors().get("requests")));
    sent.removeIf(vector -> isNeverSent(Json.asObject(Json.asObject(vector).get("json"))));
    return each(sent, WireTest::request);
  }

  private static boolean isNeverSent(Map<String, Object> request) {
    return request.containsKey("minGeneration") || request.containsKey("rejectedGeneration");
  }

  private static void request(Map<String, Object> vector) {
    Map<String, Object> wanted = Json.asObject(vector.get("json"));
    if (vector.get("message").equals("WatchTokenRequest")) {
      List<String> apps = new ArrayList<>();
      for (Object app : Json.asList(wanted.get("appIds"))) apps.add((String) app);
      Map<String, Object> known = Json.asObject(wanted.get("knownGenerations"));
      // A generation passes through the source that holds it.
      String made =
          LingpaiClient.requestFor(
              apps,
              app -> {
                if (!known.containsKey(app)) return null;
                TokenSource source = new TokenSource(app, new FakeKeeper());
                source.take(Json.object("{\"generation\":\"" + known.get(app) + "\",\"current\":{\"value\":\"v\"}}"), "");
                return source.known();
              });
      assertEquals(wanted, terse(Json.object(made)));
    } else if (wanted.containsKey("rejectedToken")) {
      FakeKeeper keeper = new FakeKeeper();
      keeper.broker = none -> Json.object("{}");
      TokenSource source = new TokenSource(Json.asString(wanted.get("appId")), keeper);
      source.take(Json.object("{\"generation\":\"1\",\"current\":{\"value\":\"" + wanted.get("rejectedToken") + "\"}}"), "");
      source.report(source.token());
      assertEquals(wanted, Json.object(keeper.requests.get(0)));
    } else {
      assertEquals(wanted, Json.object(LingpaiClient.getRequest(Json.asString(wanted.get("appId")))));
    }
  }

  @TestFactory
  Stream<DynamicTest> messages() throws IOException {
    return each(Json.asList(vectors().get("messages")), WireTest::message);
  }

  private static void message(Map<String, Object> vector) {
    Map<String, Object> message = Json.asObject(vector.get("json"));
    Map<String, Object> expect = Json.asObject(vector.get("expect"));
    String event = Stream.of("state", "heartbeat", "removed", "goaway").filter(message::containsKey).findFirst().orElse(null);
    if (expect.containsKey("event")) assertEquals(expect.get("event"), event);
    if (expect.containsKey("reconnectAfterMs")) {
      String asked = Json.asString(Json.asObject(message.get("goaway")).get("reconnectAfter"));
      assertEquals(((Double) expect.get("reconnectAfterMs")).longValue(), LingpaiClient.durationMs(asked));
    }
    if (!expect.containsKey("tokenId")) return;
    FakeKeeper keeper = new FakeKeeper();
    TokenSource source = new TokenSource("wx1", keeper);
    source.take(Json.asObject(message.get("state")), Json.asString(message.get("serverTime")));
    if (expect.get("tokenId") == null) {
      NoTokenException.Reason reason = assertThrows(NoTokenException.class, source::token).reason();
      assertEquals(expect.get("status"), reason.name());
      return;
    }
    Token token = source.token();
    assertEquals(expect.get("tokenId"), token.id());
    assertEquals(expect.get("generation"), Long.toUnsignedString(token.generation()));
    if (expect.get("lifeMs") != null) {
      long lifeMs = ((Double) expect.get("lifeMs")).longValue();
      keeper.advanceMs(lifeMs - 1);
      assertEquals(token, source.token());
      keeper.advanceMs(1);
      assertThrows(NoTokenException.class, source::token);
    }
  }

  @TestFactory
  Stream<DynamicTest> errors() throws IOException {
    return each(Json.asList(vectors().get("errors")), WireTest::error);
  }

  private static void error(Map<String, Object> vector) {
    Map<String, Object> expect = Json.asObject(vector.get("expect"));
    byte[] end = Base64.getDecoder().decode(Json.asString(vector.get("connectEndStream")));
    Map<String, Object> last = Json.object(new String(end, 5, end.length - 5, StandardCharsets.UTF_8));
    for (Object told : Arrays.asList(vector.get("connectError"), last.get("error"))) {
      RpcException error = Connection.errorOf(Json.asObject(told), "UNKNOWN");
      assertEquals(expect.get("code"), error.code());
      assertEquals(text(expect.get("reason")), error.reason());
      assertEquals(text(expect.get("app")), error.app());
      Object retryMs = expect.get("retryMs");
      assertEquals(retryMs == null ? 0 : ((Double) retryMs).longValue(), error.retryAfterMs());
      assertEquals(true, error.getMessage().contains(text(expect.get("message"))), error.getMessage());
    }
  }

  private static String text(Object value) {
    return value == null ? "" : (String) value;
  }

  @TestFactory
  Stream<DynamicTest> limits() throws IOException {
    List<?> values = Json.asList(Json.asObject(vectors().get("limits")).get("values"));
    return each(values, WireTest::value);
  }

  private static void value(Map<String, Object> vector) {
    Map<String, Object> state = Json.asObject(Json.asObject(vector.get("json")).get("state"));
    TokenSource source = new TokenSource("wx1", new FakeKeeper());
    if (isAccepted(Json.asObject(vector.get("expect")))) {
      source.take(state, "");
      assertEquals(Json.asObject(state.get("current")).get("value"), source.get());
    } else {
      assertThrows(RpcException.class, () -> source.take(state, ""));
    }
  }

  private static boolean isAccepted(Map<String, Object> expect) {
    return Boolean.TRUE.equals(expect.get("isAccepted"));
  }

  @TestFactory
  Stream<DynamicTest> envelopes() throws IOException {
    Map<String, Object> vectors = vectors();
    List<Object> all = new ArrayList<>(Json.asList(Json.asObject(vectors.get("limits")).get("envelopes")));
    return each(all, WireTest::head);
  }

  /** A head alone: one that is accepted is followed by too few bytes, the other is refused before any come. */
  private static void head(Map<String, Object> vector) {
    try {
      RpcException error = ConnectionTest.streamed(Base64.getDecoder().decode(Json.asString(vector.get("head"))));
      assertEquals(isAccepted(vector) ? "UNAVAILABLE" : "INTERNAL", error.code());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
