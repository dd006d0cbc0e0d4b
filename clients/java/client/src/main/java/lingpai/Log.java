package lingpai;

import java.util.logging.Level;
import java.util.logging.Logger;

/** The library's lines. What a handler throws, which is the user's, is swallowed. */
final class Log {
  private static final Logger LOG = Logger.getLogger("lingpai");

  /** What a line shows as its class: else that would be this one. */
  private static final String SOURCE = "lingpai.LingpaiClient";

  private Log() {}

  /** A line, and what was thrown. */
  static void say(Level level, String text, Throwable thrown) {
    quietly(() -> LOG.logp(level, SOURCE, null, text, thrown));
  }

  /** A line with values in the places of {0} and so on. */
  static void say(Level level, String text, Object... values) {
    quietly(() -> LOG.logp(level, SOURCE, null, text, values));
  }

  private static void quietly(Runnable line) {
    try {
      line.run();
    } catch (RuntimeException | Error theirs) {
      // there is nobody left to tell
    }
  }
}
