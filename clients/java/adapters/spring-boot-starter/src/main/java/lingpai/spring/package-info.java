/** Spring Boot makes a {@link lingpai.LingpaiClient} of the properties {@code lingpai.*}, and WxJava's configurations of it. */
package lingpai.spring;
