package lingpai;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Options that have been looked at. */
final class Settings {
  private static final Pattern APP = Pattern.compile("[A-Za-z0-9_-]{1,64}");
  private static final Pattern KEY = Pattern.compile("[\\x21-\\x7e]+");
  private static final Pattern LOOPBACK = Pattern.compile("localhost|127(\\.\\d{1,3}){3}|::1", Pattern.CASE_INSENSITIVE);
  /** Names with "_" are no host names by the book, but Docker gives them. */
  private static final Pattern TARGET =
      Pattern.compile("(?:(https?)://)?(?:\\[([0-9A-Fa-f:.]+)]|([A-Za-z0-9._-]+)):(\\d{1,5})/?");

  final String host;
  final int port;
  final boolean isTls;
  final boolean hasKey;
  final List<String> apps;
  final String ca;
  final String cert;
  final String certKey;
  final Timing timing;
  final Consumer<Event> observer;
  /** Transient, as the builder's: what prints fields leaves it out. */
  private final transient String key;
  private final String keyFile;
  private final Supplier<String> keySupplier;

  /** Throws ConfigurationException. */
  Settings(LingpaiClient.Builder given) {
    String target = given.target == null ? "null" : given.target;
    Matcher parts = TARGET.matcher(target);
    if (!parts.matches() || Integer.parseInt(parts.group(4)) < 1 || Integer.parseInt(parts.group(4)) > 65_535)
      throw new ConfigurationException(
          "target", target.replaceAll("//.*@", "//...@") + " is no address: write http://HOST:PORT or https://HOST:PORT");
    isTls = parts.group(1) == null ? given.ca != null || given.cert != null : parts.group(1).equals("https");
    host = parts.group(2) == null ? parts.group(3) : parts.group(2);
    port = Integer.parseInt(parts.group(4));
    apps = appsOf(given.apps);
    key = given.key;
    keyFile = given.keyFile;
    keySupplier = given.keySupplier;
    int keys = (key == null ? 0 : 1) + (keyFile == null ? 0 : 1) + (keySupplier == null ? 0 : 1);
    hasKey = keys > 0;
    if (keys > 1) throw new ConfigurationException("key", "is given by more than one of key, keyFile and keySupplier: give one of them");
    if (keys > 0 && !isTls && !given.plaintext && !LOOPBACK.matcher(host).matches())
      throw new ConfigurationException(
          "key", "would go to " + authority() + " unencrypted: write https://" + authority()
              + ", or set plaintext where nobody can listen in between");
    Duration start = given("startTimeout", given.startTimeout);
    if (start.isZero() || start.isNegative() || start.compareTo(Duration.ofDays(1)) > 0)
      throw new ConfigurationException("startTimeout", "is " + start + ": give more than 0, at most a day");
    if ((given.cert == null) != (given.certKey == null))
      throw new ConfigurationException("certificate", "has " + (given.cert == null ? "a key alone" : "no key") + ": give the paths of both");
    if (!isTls && (given.ca != null || given.cert != null))
      throw new ConfigurationException(given.ca == null ? "certificate" : "ca", "is given, but " + target + " is without TLS: write https://" + authority());
    ca = given.ca;
    cert = given.cert;
    certKey = given.certKey;
    timing = given("timing", given.timing).copy();
    observer = given("observer", given.observer);
  }

  private static <T> T given(String option, T value) {
    if (value == null) throw new ConfigurationException(option, "is null: give one");
    return value;
  }

  private static List<String> appsOf(Collection<String> apps) {
    if (apps.isEmpty() || apps.size() > 10_000)
      throw new ConfigurationException("apps", "are " + apps.size() + ": name 1 to 10000");
    for (String app : apps)
      if (app == null || !APP.matcher(app).matches())
        throw new ConfigurationException("app", "\"" + app + "\" is no app id: it has 1 to 64 characters of A-Z, a-z, 0-9, - and _");
    return new ArrayList<>(new LinkedHashSet<>(apps));
  }

  String authority() {
    return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
  }

  /** The key, read anew, or null. Throws an RpcException that needs an operator. */
  String bearer() {
    String shown;
    try {
      if (keyFile != null) shown = new String(Files.readAllBytes(Paths.get(keyFile)), StandardCharsets.UTF_8).trim();
      else if (keySupplier != null) shown = keySupplier.get();
      else if (key != null) shown = key;
      else return null;
    } catch (IOException | RuntimeException | Error error) { // the supplier is the user's
      throw RpcException.broken("UNAUTHENTICATED", "the key cannot be read: " + error, error);
    }
    if (shown == null || !KEY.matcher(shown).matches())
      throw RpcException.broken(
          "UNAUTHENTICATED", "the key cannot be read: it is empty, or has characters that a key does not have", null);
    return shown;
  }
}
