package lingpai.sdk;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** The loop of a driver, as serve.mjs has it. */
final class Driver {
  static final String GATEWAY = System.getenv("GATEWAY");
  static final String APP_ID = System.getenv("APP_ID");
  static final String KEY = System.getenv("KEY");

  private Driver() {}

  /** Carries out an order. */
  interface Call {
    String on(String arg) throws Exception;
  }

  /** Carries out the orders on stdin; {@code sdk} has a call for each. */
  static void serve(Map<String, Call> sdk) throws Exception {
    ExecutorService threads = Executors.newCachedThreadPool();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject order = JsonParser.parseString(line).getAsJsonObject();
      Call call = sdk.get(order.get("op").getAsString());
      String arg = order.has("arg") ? order.get("arg").getAsString() : "";
      List<Future<String>> calls = new ArrayList<>();
      for (int left = order.has("times") ? order.get("times").getAsInt() : 1; left > 0; left--) {
        calls.add(threads.submit(() -> call.on(arg)));
      }
      JsonArray results = new JsonArray();
      JsonArray failures = new JsonArray();
      for (Future<String> each : calls) {
        try {
          results.add(each.get());
        } catch (ExecutionException failed) {
          failures.add(String.valueOf(failed.getCause()));
        }
      }
      JsonObject answer = new JsonObject();
      answer.addProperty("event", "done");
      answer.add("results", results);
      answer.add("failures", failures);
      System.out.println(answer);
    }
    threads.shutdown();
  }

  /** Says what a value is without saying it. */
  static String digest(String value) throws Exception {
    return digest(value.getBytes(StandardCharsets.UTF_8));
  }

  static String digest(File file) throws Exception {
    return digest(Files.readAllBytes(file.toPath()));
  }

  private static String digest(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }
}
