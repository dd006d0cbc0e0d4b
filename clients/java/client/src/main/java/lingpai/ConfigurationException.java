package lingpai;

/** An option is wrong; the message names it, says what is wrong, and what to write. */
public final class ConfigurationException extends LingpaiException {
  private static final long serialVersionUID = 1;

  ConfigurationException(String message) {
    super(message, null);
  }
}
