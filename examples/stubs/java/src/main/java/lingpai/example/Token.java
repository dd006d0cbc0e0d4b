package lingpai.example;

/** One access_token. The value is a secret, so {@link #toString} leaves it out; the id names the token in logs. */
record Token(String value, String id, long generation) {
  @Override
  public String toString() {
    return id;
  }
}
