package lingpai.spring;

import lingpai.ClosedException;
import lingpai.LingpaiException;
import lingpai.NoTokenException;
import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

/** Says in one line why the client did not start, in the place of a long trace. That a bean of yours found no token is another matter, and its trace says where. */
public final class LingpaiFailureAnalyzer extends AbstractFailureAnalyzer<LingpaiException> {
  /** One analyzer. */
  public LingpaiFailureAnalyzer() {}

  @Override
  protected FailureAnalysis analyze(Throwable failure, LingpaiException cause) {
    if (cause instanceof NoTokenException || cause instanceof ClosedException) return null;
    return new FailureAnalysis(
        "The Lingpai client did not start: " + cause.getMessage(), "Look at the properties lingpai.*, and at the broker they name.", cause);
  }
}
