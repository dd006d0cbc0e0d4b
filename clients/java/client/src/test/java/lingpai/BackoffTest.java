package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class BackoffTest {
  private static final long NONE = -1;

  private static RpcException error(String code, String reason, long retryAfterMs) {
    return new RpcException(code, reason, "", "", retryAfterMs);
  }

  private static RpcException lost() {
    return error("UNAVAILABLE", "", 0);
  }

  private static Backoff drawing(double number) {
    return new Backoff(new Timing(), () -> number);
  }

  @Test
  void thePauseDoublesUpToItsCapAndHasAFloor() {
    Backoff longest = drawing(1);
    long[] bounds = {500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000};
    for (long bound : bounds) assertEquals(bound, longest.after(lost(), NONE));
    for (int more = 0; more < 100; more++) assertEquals(10_000, longest.after(lost(), NONE));
    assertEquals(100, drawing(0).after(lost(), NONE));
  }

  @Test
  void onlyAStreamThatLivedStartsAnew() {
    Backoff pauses = drawing(1);
    pauses.after(lost(), NONE);
    assertEquals(1_000, pauses.after(lost(), 9_999));
    assertEquals(500, pauses.after(lost(), 10_000));
    pauses.ended(9_999);
    assertEquals(1_000, pauses.after(lost(), NONE));
    pauses.ended(10_000);
    assertEquals(500, pauses.after(lost(), NONE));
  }

  @Test
  void retryInfoIsWaitedForWithUpToAFifthMore() {
    assertEquals(60_000, drawing(0).after(error("RESOURCE_EXHAUSTED", "", 60_000), NONE));
    assertEquals(72_000, drawing(1).after(error("RESOURCE_EXHAUSTED", "", 60_000), NONE));
    assertEquals(300_000, drawing(0).after(error("RESOURCE_EXHAUSTED", "", Long.MAX_VALUE), NONE));
    assertEquals(500, drawing(1).after(error("UNAVAILABLE", "", 400), NONE));
  }

  @Test
  void whatSomebodyMustMendIsAskedSeldom() {
    for (String code : new String[] {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"}) {
      Backoff pauses = drawing(0);
      long[] waited = {30_000, 60_000, 120_000, 240_000, 300_000, 300_000};
      for (long each : waited) assertEquals(each, pauses.after(error(code, "", 0), NONE));
    }
    Backoff mended = drawing(0);
    mended.after(error("UNAUTHENTICATED", "", 0), NONE);
    mended.ended(10_000);
    assertEquals(30_000, mended.after(error("UNAUTHENTICATED", "", 0), NONE));
    assertEquals(36_000, drawing(1).after(RpcException.broken("UNAVAILABLE", "TLS", null), NONE));
  }

  @Test
  void aCredentialThatExpiredInUseIsNoSuchCase() {
    assertEquals(500, drawing(1).after(error("UNAUTHENTICATED", "CREDENTIALS_EXPIRED", 0), 0));
    assertEquals(30_000, drawing(0).after(error("UNAUTHENTICATED", "CREDENTIALS_EXPIRED", 0), NONE));
  }

  @Test
  void oneKindOfFailureDoesNotForgetTheOther() {
    Backoff pauses = drawing(1);
    pauses.after(lost(), NONE);
    pauses.after(error("UNAUTHENTICATED", "", 0), NONE);
    assertEquals(1_000, pauses.after(lost(), NONE));
    assertEquals(72_000, pauses.after(error("UNAUTHENTICATED", "", 0), NONE));
  }
}
