package lingpai.wxjava;

import java.io.IOException;
import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.util.concurrent.locks.Lock;
import lingpai.TokenSource;
import me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl;

/**
 * The configuration of WxJava's official accounts, with the access_token of a Lingpai broker. {@code getAccessToken} reads memory. When WeChat refuses the token
 * (40001, 40014, 42001) WxJava expires it, which reports it, and makes its call once more with the newer one; where the report brings no newer one, WeChat's
 * error is thrown at once.
 *
 * <p>It has no AppSecret, so that it cannot make tokens: {@code getAccessToken(true)} throws IllegalStateException before anything is sent. Where there is
 * no token, WxJava's calls throw {@link lingpai.NoTokenException}.
 *
 * <p>WxJava logs the URL of a call that failed, token and all, at WARN (and of each call at DEBUG): set the logger
 * {@code me.chanjar.weixin.mp.api.impl.BaseWxMpServiceImpl} to ERROR.
 */
public final class LingpaiMpConfig extends WxMpDefaultConfigImpl {
  private static final long serialVersionUID = 1;

  private final transient Reporter reporter;

  /**
   * Takes the token of this source, and is of its app.
   *
   * @param source a client's source, or a fixed one
   */
  public LingpaiMpConfig(TokenSource source) {
    reporter = new Reporter(source);
    setAppId(source.app());
  }

  /** The newest token, from memory. Throws NoTokenException or ClosedException. */
  @Override
  public String getAccessToken() {
    return reporter.token();
  }

  /** Never: the broker's client has the newest token, or says that there is none. */
  @Override
  public boolean isAccessTokenExpired() {
    return false;
  }

  /** A lock that locks nothing: callers whose token was refused share one report, and none waits for another's. */
  @Override
  public Lock getAccessTokenLock() {
    return NoLock.INSTANCE;
  }

  /** Reports the token that this thread was given as refused by WeChat. Callers that do so at once make one report. */
  @Override
  public void expireAccessToken() {
    reporter.report();
  }

  /** Whether a call is made once more after its token was refused: where the report brought a newer one. */
  @Override
  public boolean autoRefreshToken() {
    return reporter.isWorthAnother();
  }

  /** Throws UnsupportedOperationException: the token comes from the broker alone. */
  @Override
  public void updateAccessToken(String accessToken, int expiresInSeconds) {
    throw Reporter.noUpdate(getAppId());
  }

  /** Throws IllegalStateException: the broker has the AppSecret. */
  @Override
  public String getSecret() {
    throw Reporter.noSecret(getAppId());
  }

  /** Throws IllegalStateException: the broker has the AppSecret. */
  @Override
  public void setSecret(String secret) {
    throw Reporter.noSecret(getAppId());
  }

  private void writeObject(ObjectOutputStream out) throws IOException {
    throw new NotSerializableException(getClass().getName() + ": it is of a client in this process; make one anew");
  }

  /** Names the app, and nothing that is secret. */
  @Override
  public String toString() {
    return "LingpaiMpConfig(" + getAppId() + ")";
  }

  /** Only itself: what WxJava compares by is secret. */
  @Override
  public boolean equals(Object other) {
    return this == other;
  }

  @Override
  public int hashCode() {
    return System.identityHashCode(this);
  }
}
