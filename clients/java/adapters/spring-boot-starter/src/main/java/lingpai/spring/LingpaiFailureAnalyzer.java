package lingpai.spring;

import lingpai.LingpaiException;
import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

/** Says in one line why the start failed, in the place of a long trace. */
public final class LingpaiFailureAnalyzer extends AbstractFailureAnalyzer<LingpaiException> {
  /** One analyzer. */
  public LingpaiFailureAnalyzer() {}

  @Override
  protected FailureAnalysis analyze(Throwable failure, LingpaiException cause) {
    return new FailureAnalysis(
        "The Lingpai client did not start: " + cause.getMessage(), "Look at the properties lingpai.*, and at the broker they name.", cause);
  }
}
