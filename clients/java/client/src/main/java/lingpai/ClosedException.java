package lingpai;

/** The client was closed. */
public final class ClosedException extends LingpaiException {
  private static final long serialVersionUID = 1;

  ClosedException() {
    super("the client is closed", null);
  }
}
