package lingpai;

/** The client was closed. */
public final class ClosedException extends LingpaiException {
  ClosedException() {
    super("the client is closed", null);
  }
}
