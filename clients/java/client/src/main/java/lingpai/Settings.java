package lingpai;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/** Options that have been looked at. */
final class Settings {
  private static final Pattern APP = Pattern.compile("[A-Za-z0-9_-]{1,64}");
  private static final Pattern KEY = Pattern.compile("[\\x21-\\x7e]+");
  private static final Pattern LOOPBACK = Pattern.compile("localhost|127(\\.\\d{1,3}){3}|\\[?::1]?", Pattern.CASE_INSENSITIVE);

  final String host;
  final int port;
  final boolean isTls;
  final List<String> apps;
  final String ca;
  final String cert;
  final String certKey;
  final Timing timing;
  final Consumer<Event> observer;
  private final String key;
  private final String keyFile;
  private final Supplier<String> keySupplier;

  /** Throws ConfigurationException. */
  Settings(LingpaiClient.Builder given) {
    String target = given.target;
    int colon = target.indexOf("://");
    String scheme = colon < 0 ? "" : target.substring(0, colon);
    isTls = colon < 0 ? given.ca != null || given.cert != null : scheme.equals("https");
    URI uri = uriOf(target, colon < 0 ? target : target.substring(colon + 3));
    if (uri.getHost() == null || uri.getPort() < 0 || uri.getPath().length() > 1 || !scheme.isEmpty() && !scheme.matches("https?"))
      throw noAddress(target);
    host = uri.getHost();
    port = uri.getPort();
    apps = appsOf(given.apps);
    key = given.key;
    keyFile = given.keyFile;
    keySupplier = given.keySupplier;
    int keys = (key == null ? 0 : 1) + (keyFile == null ? 0 : 1) + (keySupplier == null ? 0 : 1);
    if (keys > 1) throw new ConfigurationException("key, keyFile and keySupplier are given together: give one of them");
    if (keys > 0 && !isTls && !given.plaintext && !LOOPBACK.matcher(host).matches())
      throw new ConfigurationException(
          "the key would go to " + authority() + " unencrypted: write https://" + authority()
              + ", or set plaintext where nobody can listen in between");
    if (given.startTimeout.isZero() || given.startTimeout.isNegative())
      throw new ConfigurationException("startTimeout is " + given.startTimeout + ": give a time above 0");
    ca = given.ca;
    cert = given.cert;
    certKey = given.certKey;
    timing = given.timing;
    observer = given.observer;
  }

  private static URI uriOf(String target, String address) {
    try {
      return new URI("http://" + address);
    } catch (URISyntaxException wrong) {
      throw noAddress(target);
    }
  }

  private static ConfigurationException noAddress(String target) {
    return new ConfigurationException("target " + target + " is no address: write http://HOST:PORT or https://HOST:PORT");
  }

  private static List<String> appsOf(Collection<String> apps) {
    if (apps.isEmpty() || apps.size() > 10_000)
      throw new ConfigurationException("there are " + apps.size() + " apps: name 1 to 10000");
    for (String app : apps)
      if (!APP.matcher(app).matches())
        throw new ConfigurationException("app \"" + app + "\": an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _");
    return new ArrayList<>(new LinkedHashSet<>(apps));
  }

  String authority() {
    return host + ":" + port;
  }

  /** The key, read anew, or null. Throws an RpcException that needs an operator. */
  String bearer() {
    String shown;
    try {
      if (keyFile != null) shown = new String(Files.readAllBytes(Paths.get(keyFile)), StandardCharsets.UTF_8).trim();
      else if (keySupplier != null) shown = keySupplier.get();
      else if (key != null) shown = key;
      else return null;
    } catch (IOException | RuntimeException error) {
      throw RpcException.broken("UNAUTHENTICATED", "the key cannot be read: " + error, error);
    }
    if (shown == null || !KEY.matcher(shown).matches())
      throw RpcException.broken(
          "UNAUTHENTICATED", "the key cannot be read: it is empty, or has characters that a key does not have", null);
    return shown;
  }
}
