package lingpai.wxjava;

import cn.binarywang.wx.miniapp.config.impl.WxMaDefaultConfigImpl;
import java.util.concurrent.locks.Lock;
import lingpai.TokenSource;

/**
 * The configuration of WxJava's mini programs, with the access_token of a Lingpai broker. {@code getAccessToken} reads memory. When WeChat refuses the token
 * (40001, 40014, 42001) WxJava expires it, which reports it, and makes its call once more with the newer one; where the report brings no newer one, WeChat's
 * error is thrown at once.
 *
 * <p>It has no AppSecret, so that it cannot make tokens: {@code getAccessToken(true)} throws IllegalStateException before anything is sent. Where there is
 * no token, WxJava's calls throw {@link lingpai.NoTokenException}.
 *
 * <p>WxJava logs the URL of a call that failed, token and all, at WARN (and of each call at DEBUG): set the logger
 * {@code cn.binarywang.wx.miniapp.api.impl.BaseWxMaServiceImpl} to ERROR.
 */
public final class LingpaiMaConfig extends WxMaDefaultConfigImpl {
  private final Reporter reporter;

  /**
   * Takes the token of this source, and is of its app.
   *
   * @param source a client's source, or a fixed one
   */
  public LingpaiMaConfig(TokenSource source) {
    reporter = new Reporter(source);
    setAppid(source.app());
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
    throw Reporter.noUpdate(getAppid());
  }

  /** Throws IllegalStateException: the broker has the AppSecret. */
  @Override
  public String getSecret() {
    throw Reporter.noSecret(getAppid());
  }

  /** Throws IllegalStateException: the broker has the AppSecret. */
  @Override
  public void setSecret(String secret) {
    throw Reporter.noSecret(getAppid());
  }

  /** Names the app, and nothing that is secret. */
  @Override
  public String toString() {
    return "LingpaiMaConfig(" + getAppid() + ")";
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
