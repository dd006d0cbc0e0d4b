import { expect, test } from 'vitest';
import { tlsFault } from '../../../src/core/kernel/tls-faults.ts';

/** What Node calls the faults of a certificate (X509 in its documentation), but for those of revocation lists, which it does not load. */
const CERTIFICATE = [
  'UNABLE_TO_GET_ISSUER_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_NOT_YET_VALID',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_CHAIN_TOO_LONG',
  'CERT_REVOKED',
  'INVALID_CA',
  'PATH_LENGTH_EXCEEDED',
  'INVALID_PURPOSE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'HOSTNAME_MISMATCH',
  'ERR_TLS_CERT_ALTNAME_INVALID',
];

test.each(CERTIFICATE)('%s says what is wrong with the certificate, and what to do', (code) => {
  expect(tlsFault(code, 'the.setting')).toMatch(/^shows (a|the) certificate .+\. .+[^.]$/);
});

test.each([
  ['CERT_HAS_EXPIRED', /expired\. Renew/],
  ['SELF_SIGNED_CERT_IN_CHAIN', /not trusted\. .*NODE_EXTRA_CA_CERTS=FILE/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another host\. .* the\.setting/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', /does not speak TLS.*the\.setting/],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /wants a certificate/],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', /do not agree on TLS/],
  ['EPROTO', /do not agree on TLS/],
])('%s', (code, words) => {
  expect(tlsFault(code, 'the.setting')).toMatch(words);
});

test.each(['ECONNREFUSED', 'toString', ''])('"%s" is none of TLS', (code) => {
  expect(tlsFault(code, 'the.setting')).toBeUndefined();
});
