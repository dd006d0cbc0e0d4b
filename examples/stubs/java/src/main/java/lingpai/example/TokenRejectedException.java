package lingpai.example;

/** What a business call throws when WeChat answers errcode 40001, 40014 or 42001. */
final class TokenRejectedException extends Exception {
  TokenRejectedException() {
    super("WeChat refused the access_token");
  }
}
