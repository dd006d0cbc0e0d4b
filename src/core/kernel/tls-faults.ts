const NOT_TRUSTED =
  "shows a certificate that is not trusted. Name the file of its authority's in the environment: NODE_EXTRA_CA_CERTS=FILE";
const NOT_USABLE = 'shows a certificate that cannot be used. Renew it';

/** What Node's codes of TLS mean to an operator, as `tlsFault` says it. */
const IN_WORDS: Readonly<Record<string, string | ((setting: string) => string)>> = {
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  CERT_UNTRUSTED: NOT_TRUSTED,
  CERT_REJECTED: NOT_TRUSTED,
  CERT_HAS_EXPIRED: 'shows a certificate that has expired. Renew it',
  CERT_NOT_YET_VALID: 'shows a certificate that is not valid yet. Look at the clocks',
  CERT_REVOKED: 'shows a certificate that was revoked. Renew it',
  CERT_SIGNATURE_FAILURE: NOT_USABLE,
  CERT_CHAIN_TOO_LONG: NOT_USABLE,
  PATH_LENGTH_EXCEEDED: NOT_USABLE,
  INVALID_CA: NOT_USABLE,
  INVALID_PURPOSE: NOT_USABLE,
  ERR_TLS_CERT_ALTNAME_INVALID: (setting) =>
    `shows the certificate of another host. Write the name that is in it in ${setting}`,
  HOSTNAME_MISMATCH: (setting) => `shows the certificate of another host. Write the name that is in it in ${setting}`,
  ERR_SSL_WRONG_VERSION_NUMBER: (setting) => `does not speak TLS at this port. Correct scheme or port in ${setting}`,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: (setting) => `does not speak TLS at this port. Correct scheme or port in ${setting}`,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'wants a certificate of its clients, and Lingpai has none to show',
};

/**
 * What an error's code of TLS says of a server, and what an operator can do: the rest of a sentence that begins with the
 * server's name and ends without a full stop. `setting` is the configuration key that holds its address. Undefined: the code is
 * none of TLS.
 */
export function tlsFault(code: string, setting: string): string | undefined {
  const words = Object.hasOwn(IN_WORDS, code) ? IN_WORDS[code] : undefined;
  if (words !== undefined) return typeof words === 'string' ? words : words(setting);
  if (!/^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) return undefined;
  return 'and Lingpai do not agree on TLS. Look for a firewall in between, and at the versions of TLS that it speaks';
}
