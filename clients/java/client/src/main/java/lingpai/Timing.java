package lingpai;

/** The clocks of a client, in milliseconds: for tests. SPEC.md says what each is for. */
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
}
