package lingpai.wxjava;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import cn.binarywang.wx.miniapp.api.WxMaService;
import cn.binarywang.wx.miniapp.api.impl.WxMaServiceImpl;
import com.google.gson.Gson;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import lingpai.LingpaiClient;
import lingpai.NoTokenException;
import lingpai.TokenSource;
import lingpai.testing.FakeBroker;
import me.chanjar.weixin.common.error.WxErrorException;
import me.chanjar.weixin.mp.api.WxMpService;
import me.chanjar.weixin.mp.api.impl.WxMpServiceImpl;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.CsvSource;

/** The real SDK beside a broker and a WeChat of this process. */
@Timeout(30)
class WxJavaTest {
  private static final String APP = "wx1";
  private static final String CALL = "/cgi-bin/call";

  /** What is common to WxJava's two services. */
  private interface Service {
    String get(String url) throws WxErrorException;

    String token(boolean isForced) throws WxErrorException;

    void expire();

    boolean isWorthAnother();

    Object config();
  }

  enum Sdk {
    MP {
      @Override
      Service service(LingpaiClient client, FakeWeChat weChat) {
        LingpaiMpConfig config = new LingpaiMpConfig(client.app(APP));
        config.setHostConfig(me.chanjar.weixin.mp.config.WxMpHostConfig.builder().apiHost(weChat.url()).build());
        WxMpService service = new WxMpServiceImpl();
        service.setWxMpConfigStorage(config);
        return new Service() {
          @Override
          public String get(String url) throws WxErrorException {
            return service.get(url, "");
          }

          @Override
          public String token(boolean isForced) throws WxErrorException {
            return service.getAccessToken(isForced);
          }

          @Override
          public void expire() {
            config.expireAccessToken();
          }

          @Override
          public boolean isWorthAnother() {
            return config.autoRefreshToken();
          }

          @Override
          public Object config() {
            return config;
          }
        };
      }
    },
    MA {
      @Override
      Service service(LingpaiClient client, FakeWeChat weChat) {
        LingpaiMaConfig config = new LingpaiMaConfig(client.app(APP));
        config.setApiHostUrl(weChat.url());
        WxMaService service = new WxMaServiceImpl();
        service.setWxMaConfig(config);
        return new Service() {
          @Override
          public String get(String url) throws WxErrorException {
            return service.get(url, "");
          }

          @Override
          public String token(boolean isForced) throws WxErrorException {
            return service.getAccessToken(isForced);
          }

          @Override
          public void expire() {
            config.expireAccessToken();
          }

          @Override
          public boolean isWorthAnother() {
            return config.autoRefreshToken();
          }

          @Override
          public Object config() {
            return config;
          }
        };
      }
    };

    abstract Service service(LingpaiClient client, FakeWeChat weChat);
  }

  private final FakeBroker broker = FakeBroker.start(APP);
  private final LingpaiClient client = LingpaiClient.builder(broker.target()).app(APP).build();
  private final FakeWeChat weChat;

  WxJavaTest() throws IOException {
    weChat = new FakeWeChat(token -> broker.honours(APP, token));
  }

  @AfterEach
  void stop() {
    client.close();
    broker.stop();
    weChat.close();
  }

  private void noTokenCall() {
    assertFalse(weChat.paths.stream().anyMatch(path -> path.contains("token")), weChat.paths.toString());
  }

  @ParameterizedTest
  @EnumSource
  void callsWithTheBrokersToken(Sdk sdk) throws Exception {
    Service service = sdk.service(client, weChat);
    service.get(weChat.url() + CALL);
    assertEquals(broker.token(APP), service.token(false));
    String newer = broker.rotate(APP);
    client.app(APP).await(2, 10, TimeUnit.SECONDS);
    assertEquals(newer, service.token(false));
    assertEquals(1, weChat.asked(CALL));
    noTokenCall();
  }

  @ParameterizedTest
  @CsvSource({"MP, 40001", "MP, 40014", "MP, 42001", "MA, 40001", "MA, 40014", "MA, 42001"})
  void aDeadTokenIsCuredAtTheFirstCall(Sdk sdk, int errcode) throws Exception {
    Service service = sdk.service(client, weChat);
    weChat.refuses(errcode, token -> broker.honours(APP, token));
    broker.kill(APP);
    service.get(weChat.url() + CALL);
    assertEquals(2, weChat.asked(CALL));
    assertEquals(1, broker.reports());
    noTokenCall();
  }

  @ParameterizedTest
  @EnumSource
  void tenCallersMakeOneReport(Sdk sdk) throws Exception {
    Service service = sdk.service(client, weChat);
    // WeChat answers none of them before all ten have asked, so that each used the dead token.
    CountDownLatch all = new CountDownLatch(10);
    weChat.refuses(
        42001,
        token -> {
          all.countDown();
          try {
            assertTrue(all.await(10, TimeUnit.SECONDS));
          } catch (InterruptedException interrupted) {
            throw new AssertionError(interrupted);
          }
          return broker.honours(APP, token);
        });
    broker.kill(APP);
    ExecutorService threads = Executors.newFixedThreadPool(10);
    List<Future<String>> calls = new ArrayList<>();
    for (int call = 0; call < 10; call++) calls.add(threads.submit(() -> service.get(weChat.url() + CALL)));
    for (Future<String> call : calls) assertTrue(call.get(20, TimeUnit.SECONDS).contains("ok"));
    threads.shutdownNow();
    assertEquals(1, broker.reports());
    assertEquals(20, weChat.asked(CALL));
    noTokenCall();
  }

  @ParameterizedTest
  @EnumSource
  void tenCallersWaitForOneReportThatIsNotAnswered(Sdk sdk) throws Exception {
    Service service = sdk.service(client, weChat);
    weChat.refuses(40001, token -> false);
    List<Thread> threads = new ArrayList<>();
    List<FutureTask<Integer>> calls = new ArrayList<>();
    synchronized (broker) { // it answers nothing meanwhile
      for (int call = 0; call < 10; call++) {
        calls.add(new FutureTask<>(() -> assertThrows(WxErrorException.class, () -> service.get(weChat.url() + CALL)).getError().getErrorCode()));
        threads.add(new Thread(calls.get(call)));
        threads.get(call).start();
      }
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
      while (!threads.stream().allMatch(WxJavaTest::isReporting)) {
        assertTrue(System.nanoTime() < end, "callers wait for another's report before they report");
        Thread.sleep(1);
      }
      assertEquals(1, client.stats().reports());
    }
    for (FutureTask<Integer> call : calls) assertEquals(40001, call.get(10, TimeUnit.SECONDS));
    assertEquals(1, broker.reports());
    assertEquals(10, weChat.asked(CALL));
  }

  private static boolean isReporting(Thread thread) {
    boolean isWaiting = thread.getState() == Thread.State.WAITING;
    return isWaiting && Arrays.stream(thread.getStackTrace()).anyMatch(frame -> frame.getClassName().equals(TokenSource.class.getName()));
  }

  @ParameterizedTest
  @EnumSource
  void aTokenThatWasReplacedMeanwhileIsNotReported(Sdk sdk) throws Exception {
    Service service = sdk.service(client, weChat);
    service.token(false);
    broker.rotate(APP);
    client.app(APP).await(2, 10, TimeUnit.SECONDS);
    service.expire();
    assertEquals(0, broker.reports());
    assertTrue(service.isWorthAnother());
  }

  @ParameterizedTest
  @EnumSource
  void stillValidGivesWeChatsErrorAndEnds(Sdk sdk) {
    Service service = sdk.service(client, weChat);
    weChat.refuses(40001, token -> false);
    WxErrorException error = assertThrows(WxErrorException.class, () -> service.get(weChat.url() + CALL));
    assertEquals(40001, error.getError().getErrorCode());
    assertEquals(1, weChat.asked(CALL));
    assertEquals(1, broker.reports());
    noTokenCall();
  }

  @ParameterizedTest
  @EnumSource
  void aReportThatFailsGivesWeChatsError(Sdk sdk) throws Exception {
    Service service = sdk.service(client, weChat);
    broker.kill(APP);
    broker.refuse("RESOURCE_EXHAUSTED", "COOLDOWN");
    assertEquals(40001, assertThrows(WxErrorException.class, () -> service.get(weChat.url() + CALL)).getError().getErrorCode());
    broker.accept();
    service.get(weChat.url() + CALL);
    assertEquals(3, weChat.asked(CALL));
    noTokenCall();
  }

  @ParameterizedTest
  @EnumSource
  void nothingIsMadeWithoutTheBroker(Sdk sdk) {
    Service service = sdk.service(client, weChat);
    String message = assertThrows(IllegalStateException.class, () -> service.token(true)).getMessage();
    assertTrue(message.contains("the AppSecret of wx1 is with the Lingpai broker"), message);
    assertEquals(0, weChat.paths.size());
  }

  @ParameterizedTest
  @EnumSource
  void withoutATokenACallSaysWhy(Sdk sdk) throws Exception {
    try (LingpaiClient late = LingpaiClient.builder("http://127.0.0.1:1").app(APP).startOptional().build()) {
      Service service = sdk.service(late, weChat);
      assertEquals("no token of wx1: WAITING", assertThrows(NoTokenException.class, () -> service.get(weChat.url() + CALL)).getMessage());
    }
    assertEquals(0, weChat.paths.size());
  }

  @ParameterizedTest
  @EnumSource
  void whatPrintsAConfigurationPrintsNoToken(Sdk sdk) {
    Object config = sdk.service(client, weChat).config();
    assertTrue(config.toString().matches("LingpaiM[pa]Config\\(wx1\\)"), "it prints more");
    assertFalse(new Gson().toJson(client.app(APP).token()).contains(broker.token(APP)), "Gson, which WxJava brings, shows it");
    NotSerializableException no = assertThrows(NotSerializableException.class, () -> new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(config));
    assertTrue(no.getMessage().contains(config.getClass().getSimpleName()), no.getMessage());
    assertEquals(config, config);
    assertEquals(config.hashCode(), System.identityHashCode(config));
  }
}
