package lingpai.wxjava;

import lingpai.LingpaiException;
import lingpai.Token;
import lingpai.TokenSource;

/** Reports the token that WxJava says is refused, and knows whether it is worth another call. */
final class Reporter {
  private final TokenSource source;
  /** What a thread was given last. */
  private final ThreadLocal<Token> given = new ThreadLocal<>();
  /** Set on a thread whose report brought no newer token. */
  private final ThreadLocal<Boolean> isVain = new ThreadLocal<>();

  Reporter(TokenSource source) {
    this.source = source;
  }

  /** The newest token's value. Throws NoTokenException or ClosedException. */
  String token() {
    isVain.remove();
    Token token = source.token();
    given.set(token);
    return token.value();
  }

  /** WxJava found that WeChat refuses the token that this thread was given. Throws nothing: WxJava would report it a second time. */
  void report() {
    try {
      Token last = given.get();
      Token refused = last == null ? source.token() : last;
      Token newest = source.report(refused).token();
      if (Long.compareUnsigned(newest.generation(), refused.generation()) <= 0) isVain.set(true);
    } catch (LingpaiException failed) {
      isVain.set(true); // WeChat's own error says more
    }
  }

  /** Whether WxJava should make its call once more: not where the report brought no newer token. */
  boolean isWorthAnother() {
    boolean isWorth = isVain.get() == null;
    isVain.remove();
    return isWorth;
  }

  /** Why there is no AppSecret. */
  static IllegalStateException noSecret(String app) {
    return new IllegalStateException(
        "the AppSecret of " + app + " is with the Lingpai broker, so that nothing else makes tokens: getAccessToken(true), and what needs the secret"
            + " itself (login by code), cannot be done here. Call getAccessToken(); report a refused token by TokenSource.report");
  }

  /** Why a token is not taken. */
  static UnsupportedOperationException noUpdate(String app) {
    return new UnsupportedOperationException("the token of " + app + " comes from the Lingpai broker alone");
  }
}
