package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SettingsTest {
  private static LingpaiClient.Builder to(String target) {
    return LingpaiClient.builder(target).app("wx1");
  }

  private static String wrong(LingpaiClient.Builder builder) {
    return assertThrows(ConfigurationException.class, builder::build).getMessage();
  }

  private static String wrong(UnaryOperator<LingpaiClient.Builder> option) {
    return wrong(option.apply(to("http://127.0.0.1:1")));
  }

  @ParameterizedTest
  @CsvSource({
    "http://broker:7680, broker, broker:7680, false",
    "https://broker:7680/, broker, broker:7680, true",
    "broker:7680, broker, broker:7680, false",
    "my_broker.ns.svc:1, my_broker.ns.svc, my_broker.ns.svc:1, false",
    "http://[::1]:65535, ::1, [::1]:65535, false",
  })
  void aTargetIsAnAddress(String target, String host, String authority, boolean isTls) {
    Settings settings = new Settings(to(target));
    assertEquals(host, settings.host);
    assertEquals(authority, settings.authority());
    assertEquals(isTls, settings.isTls);
  }

  @Test
  void withoutASchemeTlsIsMeantWhereACaIsGiven() {
    assertTrue(new Settings(to("broker:7680").ca("ca.pem")).isTls);
    assertTrue(new Settings(to("broker:7680").certificate("cert.pem", "key.pem")).isTls);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "broker", "http://broker", "http://broker:", "http://broker:0", "http://broker:65536", "http://broker:76800000", "grpc://broker:7600",
      "http://broker:7680/path", "http://broker:7680?x", "http://bro ker:7680", "http://:7680", "http://[::1:7680", "unix:/run/lingpai.sock"})
  void aWrongTargetIsNamed(String target) {
    assertEquals("target " + target + " is no address: write http://HOST:PORT or https://HOST:PORT", wrong(to(target)));
  }

  @Test
  void aPasswordInATargetIsNotRepeated() {
    assertEquals(
        "target http://...@broker:7680 is no address: write http://HOST:PORT or https://HOST:PORT", wrong(to("http://user:secret@broker:7680")));
    assertTrue(wrong(to(null)).startsWith("target null is no address"));
  }

  @Test
  void appsAreNamed() {
    assertEquals("apps are 0: name 1 to 10000", wrong(LingpaiClient.builder("http://127.0.0.1:1")));
    assertEquals("apps are 10002: name 1 to 10000", wrong(builder -> builder.apps(Collections.nCopies(10_001, "wx2"))));
    assertEquals("app \"wx 2\" is no app id: it has 1 to 64 characters of A-Z, a-z, 0-9, - and _", wrong(builder -> builder.app("wx 2")));
    assertTrue(wrong(builder -> builder.app(null)).startsWith("app \"null\" is no app id: "));
    assertTrue(wrong(builder -> builder.app("")).startsWith("app \"\" is no app id: "));
    assertEquals(1, new Settings(to("http://127.0.0.1:1").app("wx1")).apps.size());
  }

  @Test
  void anOptionThatIsWrongIsNamed() {
    assertEquals("certificate has no key: give the paths of both", wrong(builder -> builder.certificate("cert.pem", null)));
    assertEquals("certificate has a key alone: give the paths of both", wrong(builder -> builder.certificate(null, "key.pem")));
    assertEquals("ca is given, but http://127.0.0.1:1 is without TLS: write https://127.0.0.1:1", wrong(builder -> builder.ca("ca.pem")));
    assertEquals("startTimeout is null: give one", wrong(builder -> builder.startTimeout(null)));
    assertEquals("startTimeout is PT0S: give more than 0, at most a day", wrong(builder -> builder.startTimeout(Duration.ZERO)));
    assertEquals("startTimeout is PT25H: give more than 0, at most a day", wrong(builder -> builder.startTimeout(Duration.ofHours(25))));
    assertEquals("observer is null: give one", wrong(builder -> builder.observer(null)));
    assertEquals("timing is null: give one", wrong(builder -> builder.timing(null)));
    Timing timing = new Timing();
    timing.slowCap = -1;
    assertEquals("timing.slowCap is -1: give 1 to 86400000 milliseconds", wrong(builder -> builder.timing(timing)));
  }

  @Test
  void oneKeyIsGiven() {
    assertEquals(
        "key is given by more than one of key, keyFile and keySupplier: give one of them", wrong(builder -> builder.key("a").keyFile("b")));
    ConfigurationException error = assertThrows(ConfigurationException.class, () -> to("http://127.0.0.1:1").key("a").keyFile("b").build());
    assertEquals("key", error.option());
  }

  @ParameterizedTest
  @ValueSource(strings = {"http://localhost:1", "http://LOCALHOST:1", "http://127.0.0.1:1", "http://127.9.9.9:1", "http://[::1]:1", "https://broker:1"})
  void aKeyMayGoThere(String target) {
    assertEquals("k", new Settings(to(target).key("k")).bearer());
  }

  @ParameterizedTest
  @ValueSource(strings = {"http://broker:1", "broker:1", "http://127.0.0.1.evil.example:1", "http://[::2]:1", "http://localhost.evil.example:1"})
  void aKeyGoesNowhereElseWithoutTls(String target) {
    String message = wrong(to(target).key("SECRET"));
    assertTrue(message.contains("unencrypted: write https://"), message);
    assertFalse(message.contains("SECRET"), message);
    assertEquals("SECRET", new Settings(to(target).key("SECRET").plaintext()).bearer());
  }

  @Test
  void aKeyIsReadAnew(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("key");
    Settings settings = new Settings(to("http://127.0.0.1:1").keyFile(file.toString()));
    RpcException missing = assertThrows(RpcException.class, settings::bearer);
    assertEquals("UNAUTHENTICATED", missing.code());
    assertTrue(missing.needsOperator());
    assertTrue(missing.getMessage().contains(file.toString()), missing.getMessage());
    Files.write(file, " one\n".getBytes(StandardCharsets.UTF_8));
    assertEquals("one", settings.bearer());
    Files.write(file, "two".getBytes(StandardCharsets.UTF_8));
    assertEquals("two", settings.bearer());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "SECRET KEY", "SECRET\r\nHost: evil", "SECRET\u00e9"})
  void aKeyThatIsNoneIsNotSentAndNotShown(String key) {
    RpcException error = assertThrows(RpcException.class, () -> new Settings(to("http://127.0.0.1:1").key(key)).bearer());
    assertTrue(error.needsOperator());
    assertFalse(error.getMessage().contains("SECRET"), error.getMessage());
  }

  @Test
  void theClocksAreCopied() {
    Timing timing = new Timing();
    timing.silence = 7;
    Settings settings = new Settings(to("http://127.0.0.1:1").timing(timing));
    timing.silence = 8;
    assertEquals(7, settings.timing.silence);
  }
}
