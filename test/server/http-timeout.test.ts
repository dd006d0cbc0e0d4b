import { expect, test } from 'vitest';
import { clampTimeouts } from '../../src/server/http-timeout.ts';

test.each([
  ['connect-timeout-ms', '5000', '5000'],
  ['connect-timeout-ms', '2147483647', '2147483647'],
  ['connect-timeout-ms', '2147483648', '2147483647'],
  ['connect-timeout-ms', '9999999999', '2147483647'],
  ['connect-timeout-ms', '99999999999', '99999999999'],
  ['connect-timeout-ms', 'soon', 'soon'],
  ['grpc-timeout', '99999999H', '596H'],
  ['grpc-timeout', '99999999M', '35791M'],
  ['grpc-timeout', '99999999S', '2147483S'],
  ['grpc-timeout', '99999999m', '99999999m'],
  ['grpc-timeout', '596H', '596H'],
  ['grpc-timeout', '999999999H', '999999999H'],
])('%s: %s becomes %s', (name, sent, taken) => {
  const headers = new Headers({ [name]: sent });
  clampTimeouts(headers);
  expect(headers.get(name)).toBe(taken);
});
