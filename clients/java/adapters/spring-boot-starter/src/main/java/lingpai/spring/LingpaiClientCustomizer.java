package lingpai.spring;

import lingpai.LingpaiClient;

/** A bean of this kind says what no property can: an observer, or a function that gives the key. */
@FunctionalInterface
public interface LingpaiClientCustomizer {
  /**
   * Is given the builder once the properties are in it.
   *
   * @param builder the builder
   */
  void customize(LingpaiClient.Builder builder);
}
