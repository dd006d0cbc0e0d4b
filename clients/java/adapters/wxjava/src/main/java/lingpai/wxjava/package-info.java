/** WxJava takes its access_token from a Lingpai broker: {@link lingpai.wxjava.LingpaiMpConfig} and {@link lingpai.wxjava.LingpaiMaConfig}. */
package lingpai.wxjava;
