package lingpai.example;

import io.grpc.CallCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where the broker is, and what this service shows it. Files are read at each connect: certificates are renewed, keys
 * rotated, and Kubernetes replaces a projected token every hour.
 */
final class Broker {
  private static final Pattern ADDRESS = Pattern.compile("(?:(https?)://)?([^/]+)/?");
  private static final Pattern LOOPBACK =
      Pattern.compile("(?:localhost|127\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}|\\[::1]):\\d+");

  private final String address;
  private final boolean tls;
  private final String ca;
  private final String cert;
  private final String certKey;
  private final String key;
  private final String keyFile;
  private final boolean mayShow; // a key may go there: by TLS, to this machine, or because it was told so

  /**
   * @param addr HOST:PORT, https://HOST:PORT or http://HOST:PORT
   * @throws IllegalArgumentException which says what to write
   */
  Broker(String addr, Map<String, String> env) {
    Matcher parts = ADDRESS.matcher(addr);
    if (!parts.matches()) throw new IllegalArgumentException(addr + " is no address: write HOST:PORT or https://HOST:PORT");
    address = parts.group(2);
    ca = env.getOrDefault("LINGPAI_CA", "");
    cert = env.getOrDefault("LINGPAI_CERT", "");
    certKey = env.getOrDefault("LINGPAI_CERT_KEY", "");
    key = env.getOrDefault("LINGPAI_KEY", "");
    keyFile = env.getOrDefault("LINGPAI_KEY_FILE", "");
    tls = parts.group(1) == null ? !ca.isEmpty() || !cert.isEmpty() : parts.group(1).equals("https");
    mayShow = tls || "1".equals(env.get("LINGPAI_PLAINTEXT")) || LOOPBACK.matcher(address).matches();
    boolean hasKey = !key.isEmpty() || !keyFile.isEmpty();
    if (!key.isEmpty() && !keyFile.isEmpty())
      throw new IllegalArgumentException("LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them");
    if (cert.isEmpty() != certKey.isEmpty())
      throw new IllegalArgumentException("LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both");
    if (hasKey && !mayShow)
      throw new IllegalArgumentException(
          "the key would go to %1$s unencrypted: write https://%1$s, or set LINGPAI_PLAINTEXT=1 where nobody can listen in between"
              .formatted(address));
  }

  /** A new connection. Throws UNAUTHENTICATED where there is nothing to show: as slow to be tried again as a refusal. */
  ManagedChannel dial() throws StatusException {
    try {
      var builder =
          NettyChannelBuilder.forTarget(address)
              .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, 5_000)
              .proxyDetector(target -> null); // the broker is an internal address: https.proxyHost is for others
      if (tls) builder.sslContext(sslContext());
      else builder.usePlaintext();
      String shown = keyFile.isEmpty() ? key : Files.readString(Path.of(keyFile)).strip();
      if (!keyFile.isEmpty() && shown.isEmpty()) throw new IOException("LINGPAI_KEY_FILE " + keyFile + " is empty");
      if (!shown.isEmpty()) builder.intercept(showing(new Bearer(shown, !mayShow)));
      return builder.build();
    } catch (IOException | IllegalArgumentException unreadable) {
      throw Status.UNAUTHENTICATED.withDescription(unreadable.toString()).asException();
    }
  }

  private SslContext sslContext() throws IOException {
    var builder = GrpcSslContexts.forClient();
    if (!ca.isEmpty()) builder.trustManager(new File(ca));
    if (!cert.isEmpty()) builder.keyManager(new File(cert), new File(certKey));
    return builder.build();
  }

  private static ClientInterceptor showing(CallCredentials credentials) {
    return new ClientInterceptor() {
      @Override
      public <Q, A> io.grpc.ClientCall<Q, A> interceptCall(
          io.grpc.MethodDescriptor<Q, A> method, io.grpc.CallOptions options, io.grpc.Channel next) {
        return next.newCall(method, options.withCallCredentials(credentials));
      }
    };
  }

  /** Shows a key with each call. grpc-java sends call credentials over any channel: they have to look for themselves. */
  private static final class Bearer extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private final String key;
    private final boolean needsTls;

    Bearer(String key, boolean needsTls) {
      this.key = key;
      this.needsTls = needsTls;
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
      if (needsTls && request.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) {
        applier.fail(Status.UNAUTHENTICATED.withDescription("the key is shown over TLS only"));
        return;
      }
      var head = new Metadata();
      head.put(AUTHORIZATION, "Bearer " + key);
      applier.apply(head);
    }
  }
}
