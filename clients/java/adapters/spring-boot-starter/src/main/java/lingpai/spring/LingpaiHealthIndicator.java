package lingpai.spring;

import java.util.LinkedHashMap;
import java.util.Map;
import lingpai.LingpaiClient;
import lingpai.Stats;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;

/**
 * UP while a token of every app is held, also while the broker is away (stream STALE: the tokens are good until their life is over); DOWN where one is missing
 * and once the client is closed. The details name tokens by their ids. Nobody is asked.
 */
public final class LingpaiHealthIndicator extends AbstractHealthIndicator {
  private final LingpaiClient client;

  /**
   * Tells of this client.
   *
   * @param client the client
   */
  public LingpaiHealthIndicator(LingpaiClient client) {
    this.client = client;
  }

  @Override
  protected void doHealthCheck(Health.Builder builder) {
    Stats stats = client.stats();
    Map<String, Object> apps = new LinkedHashMap<>();
    boolean isWell = !stats.state().equals("CLOSED");
    for (Map.Entry<String, Stats.App> each : stats.apps().entrySet()) {
      Stats.App app = each.getValue();
      boolean isHeld = app.state().equals("HELD");
      isWell &= isHeld;
      apps.put(each.getKey(), isHeld ? "HELD " + app.tokenId() : app.state() + " " + app.reason());
    }
    builder.status(isWell ? "UP" : "DOWN").withDetail("stream", stats.state()).withDetail("apps", apps);
  }
}
