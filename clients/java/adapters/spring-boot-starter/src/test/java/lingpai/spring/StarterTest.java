package lingpai.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import cn.binarywang.wx.miniapp.api.WxMaService;
import cn.binarywang.wx.miniapp.api.impl.WxMaServiceImpl;
import cn.binarywang.wx.miniapp.config.WxMaConfig;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Scanner;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import lingpai.LingpaiClient;
import lingpai.LingpaiException;
import lingpai.NoTokenException;
import lingpai.testing.FakeBroker;
import lingpai.wxjava.LingpaiMaConfig;
import lingpai.wxjava.LingpaiMpConfig;
import me.chanjar.weixin.common.error.WxErrorException;
import me.chanjar.weixin.mp.api.WxMpService;
import me.chanjar.weixin.mp.api.impl.WxMpServiceImpl;
import me.chanjar.weixin.mp.config.WxMpConfigStorage;
import me.chanjar.weixin.mp.config.WxMpHostConfig;
import me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.LoggerFactory;
import org.springframework.boot.SpringBootVersion;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.actuate.health.Health;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.ImportAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.diagnostics.FailureAnalysis;
import org.springframework.boot.diagnostics.FailureAnalyzer;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.env.Environment;
import org.springframework.core.io.DefaultResourceLoader;
import org.springframework.core.io.UrlResource;
import org.springframework.core.io.support.PropertiesLoaderUtils;

/** A real Spring application beside a broker of this process; also played with Boot 3. */
@Timeout(60)
class StarterTest {
  private static final String WX_LOGGER = "me.chanjar.weixin.mp.api.impl.BaseWxMpServiceImpl";

  /** A service. */
  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class App {}

  /** A service that has nothing but this. */
  @Configuration(proxyBeanMethods = false)
  @ImportAutoConfiguration(LingpaiAutoConfiguration.class)
  static class Lone {}

  /** A service with beans of its own. */
  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class Own {
    static final AtomicInteger TOLD = new AtomicInteger();

    @Bean
    WxMpConfigStorage ownStorage() {
      return new WxMpDefaultConfigImpl();
    }

    @Bean
    LingpaiClientCustomizer observer() {
      return builder -> builder.observer(event -> TOLD.incrementAndGet());
    }
  }

  /** A service with a client of its own. */
  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class OwnClient {
    @Bean
    LingpaiClient ownClient(Environment environment) {
      return LingpaiClient.builder(environment.getProperty("own.target")).app("wxmp").build();
    }
  }

  /** And one more. */
  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class OwnClients extends OwnClient {
    @Bean
    LingpaiClient otherClient(Environment environment) {
      return LingpaiClient.builder(environment.getProperty("own.target")).app("wxma").build();
    }
  }

  private final FakeBroker broker = FakeBroker.start("wxmp", "wxma");

  @AfterEach
  void stop() {
    broker.stop();
  }

  private ConfigurableApplicationContext run(Class<?> app, String... more) {
    return run(app, getClass().getClassLoader(), more);
  }

  private ConfigurableApplicationContext run(Class<?> app, ClassLoader loader, String... more) {
    List<String> properties = new ArrayList<>(Arrays.asList("--spring.main.banner-mode=off", "--logging.level.root=off"));
    properties.addAll(Arrays.asList(more));
    return new SpringApplicationBuilder(app)
        .resourceLoader(new DefaultResourceLoader(loader))
        .web(WebApplicationType.NONE)
        .run(properties.toArray(new String[0]));
  }

  private String[] all(String... more) {
    List<String> all = new ArrayList<>(Arrays.asList("--lingpai.target=" + broker.target(), "--lingpai.mp.app-id=wxmp", "--lingpai.ma.app-id=wxma"));
    all.addAll(Arrays.asList(more));
    return all.toArray(new String[0]);
  }

  @Test
  void thisIsTheBootThatIsMeant() {
    assertEquals(System.getProperty("boot"), SpringBootVersion.getVersion());
  }

  @Test
  void wxJavaCallsWithTheBrokersToken() throws IOException, WxErrorException {
    List<String> asked = new CopyOnWriteArrayList<>();
    HttpServer weChat = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    weChat.createContext(
        "/",
        exchange -> {
          String token = exchange.getRequestURI().getQuery().replaceAll("^(.*&)?access_token=", "").replaceAll("&.*", "");
          asked.add(exchange.getRequestURI().getPath());
          boolean isTaken = broker.honours("wxmp", token) || broker.honours("wxma", token);
          byte[] answer = ("{\"errcode\":" + (isTaken ? 0 : 42001) + ",\"errmsg\":\"\"}").getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(200, answer.length);
          exchange.getResponseBody().write(answer);
          exchange.close();
        });
    weChat.start();
    String url = "http://127.0.0.1:" + weChat.getAddress().getPort();
    try (ConfigurableApplicationContext context = run(App.class, all())) {
      WxMpConfigStorage storage = context.getBean(WxMpConfigStorage.class);
      storage.setHostConfig(WxMpHostConfig.builder().apiHost(url).build());
      WxMpService mp = new WxMpServiceImpl();
      mp.setWxMpConfigStorage(storage);
      WxMaService ma = new WxMaServiceImpl();
      ma.setWxMaConfig(context.getBean(WxMaConfig.class));
      broker.kill("wxmp");
      broker.kill("wxma");
      mp.get(url + "/call", "");
      ma.get(url + "/call", "");
      assertEquals(2, broker.reports());
      assertEquals(Arrays.asList("/call", "/call", "/call", "/call"), asked);
      assertEquals(LingpaiMpConfig.class, storage.getClass());
      assertEquals("LingpaiMaConfig(wxma)", context.getBean(LingpaiMaConfig.class).toString());
    } finally {
      weChat.stop(0);
    }
  }

  @Test
  void theClientIsClosedWithTheContext() {
    LingpaiClient client;
    try (ConfigurableApplicationContext context = run(App.class, all("--lingpai.apps=wxmp,wxma"))) {
      client = context.getBean(LingpaiClient.class);
      assertEquals("LIVE", client.stats().state());
    }
    assertEquals("CLOSED", client.stats().state());
  }

  @Test
  void beansOfYourOwnComeFirst() {
    try (ConfigurableApplicationContext context = run(Own.class, all())) {
      assertSame(WxMpDefaultConfigImpl.class, context.getBean(WxMpConfigStorage.class).getClass());
      assertTrue(Own.TOLD.get() > 0, "the customizer's observer was told");
    }
  }

  @Test
  void aClientOfYourOwnIsUsed() {
    try (ConfigurableApplicationContext context = run(OwnClient.class, "--own.target=" + broker.target(), "--lingpai.mp.app-id=wxmp")) {
      assertEquals("LingpaiMpConfig(wxmp)", context.getBean(WxMpConfigStorage.class).toString());
      assertEquals("UP", context.getBean("lingpaiHealthIndicator", HealthIndicator.class).health().getStatus().getCode());
    }
  }

  @Test
  void ofTwoClientsOfYourOwnNoneIsTaken() {
    try (ConfigurableApplicationContext context = run(OwnClients.class, all("--own.target=" + broker.target()))) {
      assertEquals(2, context.getBeanNamesForType(LingpaiClient.class).length);
      assertEquals(0, context.getBeanNamesForType(WxMpConfigStorage.class).length);
      assertFalse(context.containsBean("lingpaiHealthIndicator"));
      assertTrue(saysErrorsOnly(WX_LOGGER));
    }
  }

  @Test
  void nothingIsMadeWithoutATarget() {
    try (ConfigurableApplicationContext context = run(App.class)) {
      assertEquals(0, context.getBeanNamesForType(LingpaiClient.class).length);
      assertEquals(0, context.getBeanNamesForType(WxMpConfigStorage.class).length);
      assertFalse(context.containsBean("lingpaiHealthIndicator"));
    }
  }

  @Test
  void healthIsOfTheTokens() throws InterruptedException {
    try (ConfigurableApplicationContext context = run(App.class, all())) {
      LingpaiClient client = context.getBean(LingpaiClient.class);
      HealthIndicator indicator = context.getBean("lingpaiHealthIndicator", HealthIndicator.class);
      Health well = indicator.health();
      assertEquals("UP", well.getStatus().getCode());
      assertEquals("{stream=LIVE, apps={wxmp=HELD " + client.app("wxmp").token() + ", wxma=HELD " + client.app("wxma").token() + "}}", well.getDetails().toString());
      broker.remove("wxma");
      broker.rotate("wxmp"); // told after it
      client.app("wxmp").await(2, 10, TimeUnit.SECONDS);
      Health ill = indicator.health();
      assertEquals("DOWN", ill.getStatus().getCode());
      assertTrue(ill.getDetails().toString().contains("wxma=NONE REMOVED"), ill.getDetails().toString());
    }
    broker.add("wxma");
    try (ConfigurableApplicationContext context = run(App.class, all("--management.health.lingpai.enabled=false"))) {
      assertFalse(context.containsBean("lingpaiHealthIndicator"));
    }
  }

  /** The root, which is off, says none. */
  private static boolean saysErrorsOnly(String logger) {
    return LoggerFactory.getLogger(logger).isErrorEnabled() && !LoggerFactory.getLogger(logger).isWarnEnabled();
  }

  @Test
  void wxJavaDoesNotLogTokensUnlessItIsTold() {
    try (ConfigurableApplicationContext context = run(Own.class, all("--spring.main.lazy-initialization=true"))) {
      assertTrue(context.isActive());
      assertTrue(saysErrorsOnly(WX_LOGGER), "with a storage of one's own");
    }
    try (ConfigurableApplicationContext context = run(App.class, all())) {
      assertTrue(context.isActive());
      assertTrue(saysErrorsOnly(WX_LOGGER));
      assertTrue(saysErrorsOnly("cn.binarywang.wx.miniapp.api.impl.BaseWxMaServiceImpl"));
    }
    try (ConfigurableApplicationContext context = run(App.class, all("--logging.level." + WX_LOGGER + "=warn"))) {
      assertTrue(context.isActive());
      assertTrue(LoggerFactory.getLogger(WX_LOGGER).isWarnEnabled());
    }
  }

  @Test
  void aStartThatFailsSaysWhatIsWrong() {
    assertTrue(rootOf(() -> run(App.class, all("--lingpai.apps=wx9"))).contains("no app wx9 is configured"));
    String target = rootOf(() -> run(App.class, "--lingpai.target=broker", "--lingpai.apps=wx1"));
    assertEquals("target broker is no address: write http://HOST:PORT or https://HOST:PORT", target);
    broker.stop();
    assertTrue(rootOf(() -> run(App.class, all("--lingpai.start-timeout=1s"))).contains("Connection refused"));
    run(App.class, all("--lingpai.start-optional=true")).close();
  }

  @Test
  void theReasonIsSaidInALine() throws IOException {
    LingpaiException reason = assertThrows(LingpaiException.class, () -> LingpaiClient.builder("broker").app("wx1").build());
    FailureAnalysis analysis = new LingpaiFailureAnalyzer().analyze(new IllegalStateException(reason));
    assertEquals("The Lingpai client did not start: target broker is no address: write http://HOST:PORT or https://HOST:PORT", analysis.getDescription());
    NoTokenException theirs;
    try (LingpaiClient client = LingpaiClient.builder("http://127.0.0.1:1").app("wx1").startOptional().build()) {
      theirs = assertThrows(NoTokenException.class, client.app("wx1")::get);
    }
    assertNull(new LingpaiFailureAnalyzer().analyze(new IllegalStateException(theirs)), "the client did start");
    boolean isKnown = false;
    for (URL each : Collections.list(getClass().getClassLoader().getResources("META-INF/spring.factories")))
      isKnown |= PropertiesLoaderUtils.loadProperties(new UrlResource(each)).getProperty(FailureAnalyzer.class.getName(), "").equals(LingpaiFailureAnalyzer.class.getName());
    assertTrue(isKnown, "Boot is told of the analyzer");
  }

  private static String rootOf(org.junit.jupiter.api.function.Executable failing) {
    Throwable root = assertThrows(Exception.class, failing);
    while (root.getCause() != null) root = root.getCause();
    return root.getMessage();
  }

  @Test
  void itDoesWithoutWxJavaAndWithoutActuator() {
    ClassLoader lean = new Lean(getClass().getClassLoader());
    try (ConfigurableApplicationContext context = run(Lone.class, lean, all("--lingpai.apps=wxmp"))) {
      assertEquals(1, context.getBeanNamesForType(LingpaiClient.class).length);
      assertFalse(context.containsBean("wxMpConfigStorage"));
      assertFalse(context.containsBean("wxMaConfig"));
      assertFalse(context.containsBean("lingpaiHealthIndicator"));
    }
  }

  /** Has no class of WxJava and none of Actuator. */
  private static final class Lean extends URLClassLoader {
    Lean(ClassLoader parent) {
      super(new URL[0], parent);
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
      if (name.matches("(me\\.chanjar|cn\\.binarywang|org\\.springframework\\.boot\\.actuate\\.(autoconfigure\\.)?health)\\..*")) throw new ClassNotFoundException(name);
      return super.loadClass(name, resolve);
    }
  }

  @Test
  void editorsKnowTheProperties() throws IOException {
    URL metadata = LingpaiProperties.class.getResource("/META-INF/spring-configuration-metadata.json");
    try (Scanner scanner = new Scanner(metadata.openStream(), "UTF-8").useDelimiter("\\A")) {
      String text = scanner.next();
      for (String name : new String[] {"target", "apps", "start-timeout", "start-optional", "ca", "cert", "cert-key", "key", "key-file", "plaintext", "mp.app-id", "ma.app-id"})
        assertTrue(text.contains("\"name\": \"lingpai." + name + "\""), name);
    }
  }
}
