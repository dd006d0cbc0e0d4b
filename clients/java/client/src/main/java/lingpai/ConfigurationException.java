package lingpai;

/** An option is wrong. Thrown before anything is sent; the message begins with the option, and says what is wrong and what to write. */
public final class ConfigurationException extends LingpaiException {
  private static final long serialVersionUID = 1;

  /** See {@link #option}. */
  private final String option;

  ConfigurationException(String option, String words) {
    super(option + " " + words, null);
    this.option = option;
  }

  /** {@return the option: a method of the builder, such as {@code keyFile}} */
  public String option() {
    return option;
  }
}
