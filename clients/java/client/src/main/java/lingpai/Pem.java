package lingpai;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** TLS from files in PEM: certificates, and private keys as PKCS #8. */
final class Pem {
  private static final Pattern KEY =
      Pattern.compile("-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\\s]+)-----END PRIVATE KEY-----");

  private Pem() {}

  /** What TLS is spoken with; each path may be null. Throws an RpcException that needs an operator. */
  static SSLContext context(String ca, String cert, String key) {
    try {
      TrustManagerFactory trust = null;
      if (ca != null) {
        KeyStore store = empty();
        int number = 0;
        for (Certificate one : certificates(ca)) store.setCertificateEntry("ca" + number++, one);
        trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
      }
      KeyManagerFactory own = null;
      if (cert != null) {
        KeyStore store = empty();
        store.setKeyEntry("client", privateKey(key), new char[0], certificates(cert).toArray(new Certificate[0]));
        own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        own.init(store, new char[0]);
      }
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(own == null ? null : own.getKeyManagers(), trust == null ? null : trust.getTrustManagers(), null);
      return context;
    } catch (IOException | GeneralSecurityException | IllegalArgumentException error) {
      String words = error instanceof IllegalArgumentException ? error.getMessage() : error.toString();
      throw RpcException.broken("UNAUTHENTICATED", "the certificates cannot be used: " + words, error);
    }
  }

  private static KeyStore empty() throws IOException, GeneralSecurityException {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    return store;
  }

  private static Collection<? extends Certificate> certificates(String path) throws IOException, GeneralSecurityException {
    byte[] text = Files.readAllBytes(Paths.get(path));
    try {
      Collection<? extends Certificate> found =
          CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(text));
      if (!found.isEmpty()) return found;
    } catch (CertificateException none) {
      // told below
    }
    throw new IllegalArgumentException(path + " has no certificate in PEM");
  }

  private static PrivateKey privateKey(String path) throws IOException, GeneralSecurityException {
    Matcher key = KEY.matcher(new String(Files.readAllBytes(Paths.get(path)), StandardCharsets.US_ASCII));
    if (!key.find())
      throw new IllegalArgumentException(path + " has no \"BEGIN PRIVATE KEY\": write it anew by openssl pkcs8 -topk8 -nodes");
    PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key.group(1)));
    GeneralSecurityException last = null;
    for (String algorithm : new String[] {"EC", "RSA"}) {
      try {
        return KeyFactory.getInstance(algorithm).generatePrivate(spec);
      } catch (GeneralSecurityException other) {
        last = other;
      }
    }
    throw last;
  }
}
