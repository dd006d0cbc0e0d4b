package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import java.util.Collections;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
  private static String repeated(String text, int times) {
    return String.join("", Collections.nCopies(times, text));
  }

  @Test
  void readsWhatABrokerSends() {
    assertEquals(
        "{a=[1.0, -2.5, 3.0E8, true, false, null], b={}, c=\"\\/\n\r\t\b\f\u4ee4\uD83D\uDE00}",
        Json.object(" { \"a\" : [ 1 , -2.5,3e8,true, false,null ], \"b\":{ },\"c\":\"\\\"\\\\\\/\\n\\r\\t\\b\\f\\u4ee4\\uD83D\\uDE00\" }\r\n").toString());
    assertEquals("\uD83D\uDE00", Json.object("{\"a\":\"\uD83D\uDE00\"}").get("a"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "", " ", "[]", "1", "null", "\"a\"", "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{\"a\":1}{}", "{\"a\":1}x", "{\"a\":tru}",
        "{\"a\":[1,]}", "{\"a\":[1 2]}", "{\"a\":[}", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\u12", "{\"a\":\"\\u+123\"}", "{\"a\":\"\\u-123\"}", "{\"a\":\"\\q\"}",
        "{\"a\":\"\n\"}", "{\"a\":+1}", "{\"a\":01}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":1e}", "{\"a\":-}", "{\"a\":--1}", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":0x1}",
        "{\"a\":\"\\uD83D\"}", "{\"a\":\"\\uDE00\"}", "{\"a\":\"\\uD83Dx\"}", "{\"a\":\"\\uD83D\\uD83D\\uDE00\"}", "{\"a\":\"\\uDE00\\uD83D\"}", "\uFEFF{}"
      })
  void refusesWhatIsNoObject(String text) {
    RpcException error = assertThrows(RpcException.class, () -> Json.object(text));
    assertEquals("INTERNAL", error.code());
  }

  @Test
  void depthIsBounded() {
    Json.object("{\"a\":" + repeated("[", 64) + repeated("]", 64) + "}");
    assertThrows(RpcException.class, () -> Json.object("{\"a\":" + repeated("[", 65) + repeated("]", 65) + "}"));
    assertThrows(RpcException.class, () -> Json.object(repeated("{\"a\":", 1_000_000)));
  }

  @Test
  void hugeNumbersAreNumbers() {
    assertEquals(Double.POSITIVE_INFINITY, Json.object("{\"a\":1e999}").get("a"));
    assertEquals(1.0, (Double) Json.object("{\"a\":1." + repeated("0", 1_000_000) + "}").get("a"));
  }

  @Test
  void quotesWhatItReads() {
    for (String text : Arrays.asList("", "a\"b\\c\n\u0000\u001f\u4ee4\uD83D\uDE00"))
      assertEquals(text, Json.object("{\"a\":" + Json.quoted(text) + "}").get("a"));
  }

  @Test
  void anythingElseIsEmpty() {
    assertEquals(Collections.emptyMap(), Json.asObject("a"));
    assertEquals(Collections.emptyList(), Json.asList(1.0));
    assertEquals("", Json.asString(null));
  }
}
