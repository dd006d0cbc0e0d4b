package lingpai;

/** What this library throws is one of these. None has a token's value in it. */
public class LingpaiException extends RuntimeException {
  private static final long serialVersionUID = 1;

  LingpaiException(String message, Throwable cause) {
    super(message, cause);
  }
}
