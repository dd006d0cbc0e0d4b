package lingpai;

/**
 * The clocks of a client, in milliseconds: for tests. Each may be 1 to 86,400,000 (a day). {@link LingpaiClient.Builder#build} copies them. SPEC.md says what
 * each is for.
 */
public final class Timing {
  /** R6: a stream's silence, from its start and between messages. */
  public long silence = 25_000;
  /** R6: a connection with its TLS handshake. */
  public long connect = 5_000;
  /** A unary call. */
  public long call = 10_000;
  /** R5: the first pause's bound. */
  public long backoffBase = 500;
  /** R5: the longest pause. */
  public long backoffCap = 10_000;
  /** R5: the shortest pause. */
  public long backoffFloor = 100;
  /** R5: a stream that lived so long was a good one. */
  public long life = 10_000;
  /** R7: the longest that a goaway is believed. */
  public long goawayCap = 60_000;
  /** R8: the longest that RetryInfo is believed. */
  public long retryCap = 300_000;
  /** R9: the first pause for what somebody must mend. */
  public long slow = 30_000;
  /** R9: the longest of them. */
  public long slowCap = 300_000;
  /** R10: between questions for an app that the broker does not know. */
  public long appRetry = 60_000;

  /** The clocks that SPEC.md has. */
  public Timing() {}

  /** The same clocks, looked at. Throws ConfigurationException. */
  Timing copy() {
    Timing copy = new Timing();
    copy.silence = sane("silence", silence);
    copy.connect = sane("connect", connect);
    copy.call = sane("call", call);
    copy.backoffBase = sane("backoffBase", backoffBase);
    copy.backoffCap = sane("backoffCap", backoffCap);
    copy.backoffFloor = sane("backoffFloor", backoffFloor);
    copy.life = sane("life", life);
    copy.goawayCap = sane("goawayCap", goawayCap);
    copy.retryCap = sane("retryCap", retryCap);
    copy.slow = sane("slow", slow);
    copy.slowCap = sane("slowCap", slowCap);
    copy.appRetry = sane("appRetry", appRetry);
    return copy;
  }

  private static long sane(String name, long ms) {
    if (ms < 1 || ms > 86_400_000)
      throw new ConfigurationException("timing." + name, "is " + ms + ": give 1 to 86400000 milliseconds");
    return ms;
  }
}
