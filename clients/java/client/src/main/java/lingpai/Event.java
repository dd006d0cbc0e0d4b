package lingpai;

/** What an observer is told, never a token's value. A field that does not belong to the type is empty or 0. */
public final class Event {
  /** What happened. */
  public enum Type {
    /** An app's state changed. */
    STATE,
    /** A stream brought its first message after one was lost. */
    RECONNECT,
    /** The broker asked the client to come back later. */
    GOAWAY,
    /** A token was reported. */
    REPORT,
    /** A stream or a call failed. */
    ERROR,
    /** The client was closed. */
    CLOSED
  }

  private final Type type;
  private final String app;
  private final String during;
  private final String state;
  private final String reason;
  private final String code;
  private final String tokenId;
  private final long generation;
  private final long afterMs;

  private Event(
      Type type, String app, String during, String state, String reason, String code, String tokenId, long generation, long afterMs) {
    this.type = type;
    this.app = app;
    this.during = during;
    this.state = state;
    this.reason = reason;
    this.code = code;
    this.tokenId = tokenId;
    this.generation = generation;
    this.afterMs = afterMs;
  }

  static Event of(Type type) {
    return new Event(type, "", "", "", "", "", "", 0, 0);
  }

  static Event state(String app, Stats.App now) {
    String state = now.state().equals("HELD") ? "HELD" : "NONE";
    return new Event(Type.STATE, app, "", state, now.reason(), "", now.tokenId(), now.generation(), 0);
  }

  static Event goaway(long afterMs) {
    return new Event(Type.GOAWAY, "", "", "", "", "", "", 0, afterMs);
  }

  static Event report(String app, String outcome) {
    return new Event(Type.REPORT, app, "", outcome, "", "", "", 0, 0);
  }

  static Event error(String during, RpcException error, long afterMs) {
    return new Event(Type.ERROR, error.app(), during, "", error.reason(), error.code(), "", 0, afterMs);
  }

  /** {@return what happened} */
  public Type type() {
    return type;
  }

  /** {@return the app that it is about} */
  public String app() {
    return app;
  }

  /** {@return of an ERROR: {@code watch}, {@code get} or {@code report}} */
  public String during() {
    return during;
  }

  /** {@return of a STATE: {@code HELD} or {@code NONE}} */
  public String state() {
    return type == Type.STATE ? state : "";
  }

  /** {@return of a REPORT: what it came to} */
  public String outcome() {
    return type == Type.REPORT ? state : "";
  }

  /** {@return of a STATE: why there is no token; of an ERROR: the broker's reason} */
  public String reason() {
    return reason;
  }

  /** {@return of an ERROR: the name of the gRPC code} */
  public String code() {
    return code;
  }

  /** {@return of a STATE: the token's id} */
  public String tokenId() {
    return tokenId;
  }

  /** {@return of a STATE: the token's generation, unsigned} */
  public long generation() {
    return generation;
  }

  /** {@return of a GOAWAY and an ERROR: the pause until the next attempt, in milliseconds} */
  public long afterMs() {
    return afterMs;
  }

  @Override
  public String toString() {
    return type + " " + String.join(" ", app, during, state, code, reason, tokenId);
  }
}
