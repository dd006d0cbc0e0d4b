package lingpai;

/**
 * One access_token. It does not change: when the broker has a newer one, the source has another {@code Token}. What prints one prints its id;
 * it cannot be serialized.
 */
public final class Token {
  private final String value;
  private final String id;
  private final long generation;
  private final Token previous;

  Token(String value, String id, long generation, Token previous) {
    this.value = value;
    this.id = id;
    this.generation = generation;
    this.previous = previous;
  }

  /** The secret, at most 2,048 characters: send it as {@code access_token}, and never log it. */
  public String value() {
    return value;
  }

  /** The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs. */
  public String id() {
    return id;
  }

  /** Rises with each new token of an app. Unsigned: compare by {@link Long#compareUnsigned}, print by {@link Long#toUnsignedString(long)}. */
  public long generation() {
    return generation;
  }

  /** The token before it, while WeChat still honours it, or null. The library never chooses it. */
  public Token previous() {
    return previous;
  }

  boolean isNewerThan(Token other) {
    return Long.compareUnsigned(generation, other.generation) > 0;
  }

  @Override
  public String toString() {
    return id;
  }
}
