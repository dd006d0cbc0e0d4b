package lingpai;

/** What a business call throws when WeChat refuses the access_token: errcode 40001, 40014 or 42001. */
public class TokenRejectedException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** See {@link #errcode}. */
  private final int errcode;

  /**
   * A refusal by this errcode.
   *
   * @param errcode WeChat's errcode
   */
  public TokenRejectedException(int errcode) {
    super("WeChat refused the access_token: errcode " + errcode);
    this.errcode = errcode;
  }

  /** {@return WeChat's errcode} */
  public int errcode() {
    return errcode;
  }

  /**
   * Throws one where the errcode says that the access_token was refused.
   *
   * @param errcode WeChat's errcode
   */
  public static void throwIf(int errcode) {
    if (errcode == 40001 || errcode == 40014 || errcode == 42001) throw new TokenRejectedException(errcode);
  }
}
