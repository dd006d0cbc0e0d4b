/** Holds the newest WeChat access_token of each app in memory, as a Lingpai broker pushes it. */
package lingpai;
