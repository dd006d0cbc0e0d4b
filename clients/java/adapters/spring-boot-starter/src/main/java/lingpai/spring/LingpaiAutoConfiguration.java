package lingpai.spring;

import lingpai.LingpaiClient;
import lingpai.wxjava.LingpaiMaConfig;
import lingpai.wxjava.LingpaiMpConfig;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.beans.factory.config.BeanFactoryPostProcessor;
import org.springframework.boot.actuate.autoconfigure.health.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.autoconfigure.AutoConfigureBefore;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnSingleCandidate;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.boot.logging.LogLevel;
import org.springframework.boot.logging.LoggingSystem;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.core.env.Environment;

/**
 * Where {@code lingpai.target} is set: a {@link LingpaiClient}. Where there is one, this or your own: WxJava's {@code WxMpConfigStorage} for
 * {@code lingpai.mp.app-id} and {@code WxMaConfig} for {@code lingpai.ma.app-id}, where WxJava is there; and a health indicator, where Actuator is. Of several
 * clients of your own the primary one is taken, or none. A bean of your own takes the place of each. The start of the context waits for a token of every app, and
 * fails without one (see {@code lingpai.start-optional}).
 */
@Configuration(proxyBeanMethods = false)
@EnableConfigurationProperties(LingpaiProperties.class)
@AutoConfigureBefore(
    name = {
      "com.binarywang.spring.starter.wxjava.mp.config.WxMpAutoConfiguration",
      "com.binarywang.spring.starter.wxjava.mp.config.WxMpStorageAutoConfiguration",
      "com.binarywang.spring.starter.wxjava.mp.config.WxMpServiceAutoConfiguration",
      "com.binarywang.spring.starter.wxjava.miniapp.config.WxMaAutoConfiguration",
      "com.binarywang.spring.starter.wxjava.miniapp.config.WxMaServiceAutoConfiguration"
    })
public class LingpaiAutoConfiguration {
  /** Made by Spring. */
  public LingpaiAutoConfiguration() {}

  /** The client, before what is made only where there is one. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnProperty("lingpai.target")
  @Order(Ordered.HIGHEST_PRECEDENCE)
  static class Client {
    /** Closed with the context. */
    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean
    LingpaiClient lingpaiClient(LingpaiProperties properties, ObjectProvider<LingpaiClientCustomizer> customizers) {
      LingpaiClient.Builder builder = properties.builder();
      customizers.orderedStream().forEach(each -> each.customize(builder));
      return builder.build();
    }
  }

  /** WxJava logs the URL of a call with its token, at WARN and DEBUG: its loggers say errors only, unless a level is set by a property of the logger's name. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnBean(LingpaiClient.class)
  static class Log {
    private static final String[] LOGGERS = {"me.chanjar.weixin.mp.api.impl.BaseWxMpServiceImpl", "cn.binarywang.wx.miniapp.api.impl.BaseWxMaServiceImpl"};

    /** Runs in each context, also where beans are made lazily. */
    @Bean
    static BeanFactoryPostProcessor lingpaiWxJavaLog(Environment environment) {
      LoggingSystem system = LoggingSystem.get(LingpaiAutoConfiguration.class.getClassLoader());
      return beans -> {
        for (String logger : LOGGERS) if (!environment.containsProperty("logging.level." + logger)) system.setLogLevel(logger, LogLevel.ERROR);
      };
    }
  }

  /** Official accounts. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnClass(name = "me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl")
  @ConditionalOnProperty("lingpai.mp.app-id")
  @ConditionalOnSingleCandidate(LingpaiClient.class)
  static class Mp {
    @Bean
    @ConditionalOnMissingBean(type = "me.chanjar.weixin.mp.config.WxMpConfigStorage")
    LingpaiMpConfig wxMpConfigStorage(LingpaiClient client, LingpaiProperties properties) {
      return new LingpaiMpConfig(client.app(properties.getMp().getAppId()));
    }
  }

  /** Mini programs. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnClass(name = "cn.binarywang.wx.miniapp.config.impl.WxMaDefaultConfigImpl")
  @ConditionalOnProperty("lingpai.ma.app-id")
  @ConditionalOnSingleCandidate(LingpaiClient.class)
  static class Ma {
    @Bean
    @ConditionalOnMissingBean(type = "cn.binarywang.wx.miniapp.config.WxMaConfig")
    LingpaiMaConfig wxMaConfig(LingpaiClient client, LingpaiProperties properties) {
      return new LingpaiMaConfig(client.app(properties.getMa().getAppId()));
    }
  }

  /** Actuator. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnClass(
      name = {
        "org.springframework.boot.actuate.health.HealthIndicator",
        "org.springframework.boot.actuate.autoconfigure.health.ConditionalOnEnabledHealthIndicator"
      })
  @ConditionalOnSingleCandidate(LingpaiClient.class)
  static class Actuator {
    @Bean
    @ConditionalOnEnabledHealthIndicator("lingpai")
    @ConditionalOnMissingBean(name = "lingpaiHealthIndicator")
    LingpaiHealthIndicator lingpaiHealthIndicator(LingpaiClient client) {
      return new LingpaiHealthIndicator(client);
    }
  }
}
