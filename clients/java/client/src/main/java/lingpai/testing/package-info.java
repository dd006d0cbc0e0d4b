/** For tests of services that use this library (R19): a broker in the process. A source that needs none is {@link lingpai.TokenSource#fixed}. */
package lingpai.testing;
