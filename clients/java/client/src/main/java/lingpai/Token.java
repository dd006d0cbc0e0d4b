package lingpai;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * One access_token. It does not change: when the broker has a newer one, the source has another {@code Token}. What prints one prints its id;
 * it cannot be serialized.
 */
public final class Token {
  /** Transient: what prints or writes fields leaves it out. */
  private final transient String value;
  private final String id;
  private final long generation;
  private final Token previous;
  private final long previousEnd;

  /** previousEnd: when the previous one's grace is over, by System.nanoTime(). */
  Token(String value, long generation, Token previous, long previousEnd) {
    this.value = value;
    this.id = idOf(value);
    this.generation = generation;
    this.previous = previous;
    this.previousEnd = previousEnd;
  }

  /** {@return the secret, at most 2,048 characters: send it as {@code access_token}, and never log it} */
  public String value() {
    return value;
  }

  /** {@return the first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs} */
  public String id() {
    return id;
  }

  /**
   * {@return a number that rises with each new token of an app} Unsigned, 64 bits: compare by {@link Long#compareUnsigned}, print by {@link
   * Long#toUnsignedString(long)}. It is 0 of a {@link #previous} token, of which the broker does not say it.
   */
  public long generation() {
    return generation;
  }

  /** {@return the token before it, while WeChat still honours it; null once that is over, and where there is none} The library never chooses it (R13). */
  public Token previous() {
    return previous == null || System.nanoTime() - previousEnd >= 0 ? null : previous;
  }

  boolean isNewerThan(Token other) {
    return Long.compareUnsigned(generation, other.generation) > 0;
  }

  /** The token's id. */
  @Override
  public String toString() {
    return id;
  }

  private static String idOf(String value) {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(value.getBytes(StandardCharsets.UTF_8));
      StringBuilder id = new StringBuilder();
      for (int index = 0; index < 6; index++) id.append(String.format("%02x", digest[index] & 0xff));
      return id.toString();
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible); // every Java has SHA-256
    }
  }
}
