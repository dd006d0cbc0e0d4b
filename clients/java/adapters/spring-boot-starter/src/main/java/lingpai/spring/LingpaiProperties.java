package lingpai.spring;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import lingpai.LingpaiClient;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.NestedConfigurationProperty;

/** The properties {@code lingpai.*}: the options of {@link LingpaiClient.Builder}. */
@ConfigurationProperties("lingpai")
class LingpaiProperties {
  /** The broker's HTTP port: http://HOST:PORT or https://HOST:PORT. Without it the starter makes nothing. */
  private String target;

  /** App ids to hold tokens of, beside lingpai.mp.app-id and lingpai.ma.app-id. */
  private List<String> apps = new ArrayList<>();

  /** How long the start waits for a token of every app. */
  private Duration startTimeout = Duration.ofSeconds(10);

  /** Whether the start waits for no token: reads throw NoTokenException until one is here. */
  private boolean startOptional;

  /** Path of a PEM file of who signs the broker's certificate. Without it the JDK's CAs are trusted. */
  private String ca;

  /** Path of a PEM file of a client certificate. */
  private String cert;

  /** Path of a PEM file of its private key, as PKCS #8. */
  private String certKey;

  /** An access key. Prefer key-file: others may see a process's environment and command line. */
  private String key;

  /** Path of a file with an access key or another bearer token, read at each attempt to connect. */
  private String keyFile;

  /** Whether a key may go to another machine without TLS. */
  private boolean plaintext;

  @NestedConfigurationProperty
  private final App mp = new App();

  @NestedConfigurationProperty
  private final App ma = new App();

  /** One of WxJava's configurations. */
  static class App {
    /** Id of the app that the configuration is of. Without it there is none. */
    private String appId;

    public String getAppId() {
      return appId;
    }

    public void setAppId(String id) {
      appId = id;
    }
  }

  /** A builder that has these options. */
  LingpaiClient.Builder builder() {
    LingpaiClient.Builder builder = LingpaiClient.builder(target).apps(apps).startTimeout(startTimeout);
    if (mp.appId != null) builder.app(mp.appId);
    if (ma.appId != null) builder.app(ma.appId);
    if (startOptional) builder.startOptional();
    if (ca != null) builder.ca(ca);
    if (cert != null || certKey != null) builder.certificate(cert, certKey);
    if (key != null) builder.key(key);
    if (keyFile != null) builder.keyFile(keyFile);
    if (plaintext) builder.plaintext();
    return builder;
  }

  public String getTarget() {
    return target;
  }

  public void setTarget(String value) {
    target = value;
  }

  public List<String> getApps() {
    return apps;
  }

  public void setApps(List<String> value) {
    apps = value;
  }

  public Duration getStartTimeout() {
    return startTimeout;
  }

  public void setStartTimeout(Duration value) {
    startTimeout = value;
  }

  public boolean isStartOptional() {
    return startOptional;
  }

  public void setStartOptional(boolean value) {
    startOptional = value;
  }

  public String getCa() {
    return ca;
  }

  public void setCa(String value) {
    ca = value;
  }

  public String getCert() {
    return cert;
  }

  public void setCert(String value) {
    cert = value;
  }

  public String getCertKey() {
    return certKey;
  }

  public void setCertKey(String value) {
    certKey = value;
  }

  public String getKey() {
    return key;
  }

  public void setKey(String value) {
    key = value;
  }

  public String getKeyFile() {
    return keyFile;
  }

  public void setKeyFile(String value) {
    keyFile = value;
  }

  public boolean isPlaintext() {
    return plaintext;
  }

  public void setPlaintext(boolean value) {
    plaintext = value;
  }

  public App getMp() {
    return mp;
  }

  public App getMa() {
    return ma;
  }
}
