package lingpai.wxjava;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Predicate;

/** WeChat as a test needs it: one call, which takes the tokens that it is told to, and a list of all that was asked. */
final class FakeWeChat implements AutoCloseable {
  final List<String> paths = new CopyOnWriteArrayList<>();
  private final HttpServer server;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private volatile Predicate<String> honours;
  private volatile int errcode = 40001;

  FakeWeChat(Predicate<String> honours) throws IOException {
    this.honours = honours;
    server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.createContext("/", this::answer);
    server.setExecutor(threads);
    server.start();
  }

  String url() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  /** Refuses by this errcode the tokens of which that is not true. */
  void refuses(int by, Predicate<String> unless) {
    errcode = by;
    honours = unless;
  }

  long asked(String path) {
    return paths.stream().filter(path::equals).count();
  }

  private void answer(HttpExchange exchange) throws IOException {
    paths.add(exchange.getRequestURI().getPath());
    String query = String.valueOf(exchange.getRequestURI().getQuery());
    boolean isTaken = honours.test(query.replaceAll("^(.*&)?access_token=", "").replaceAll("&.*", ""));
    byte[] body = (isTaken ? "{\"errcode\":0,\"errmsg\":\"ok\"}" : "{\"errcode\":" + errcode + ",\"errmsg\":\"refused\"}").getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
  }
}
