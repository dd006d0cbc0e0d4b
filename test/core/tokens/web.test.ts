import { expect, test } from 'vitest';
import { hostOf, isForeign, isLoopback, type WebRequest } from '../../../src/core/kernel/web.ts';

test.each([
  ['127.0.0.1', true],
  ['127.8.9.10', true],
  ['::1', true],
  ['0:0:0:0:0:0:0:1', true],
  ['localhost', true],
  ['LocalHost', true],
  ['broker.localhost', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['128.0.0.1', false],
  ['::1:1', false],
  ['127.example', false],
  ['notlocalhost', false],
  ['localhost.example', false],
])('isLoopback(%s) is %s', (host, loopback) => {
  expect(isLoopback(host)).toBe(loopback);
});

test.each([
  ['lingpai.internal', 'lingpai.internal'],
  ['LINGPAI.internal.:7680', 'lingpai.internal'],
  ['127.0.0.1:7680', '127.0.0.1'],
  ['127.1', '127.0.0.1'],
  ['[::1]:7680', '::1'],
  ['evil.example', 'evil.example'],
  [undefined, undefined],
  ['', undefined],
  ['a b[', undefined],
  ['a@127.0.0.1', undefined],
  ['evil.example/@127.0.0.1', undefined],
  ['h:99999', undefined],
])('hostOf(%j) is %j', (header, host) => {
  expect(hostOf(header)).toBe(host);
});

const host = 'localhost:7680';

test.each<[WebRequest, boolean]>([
  [{ host }, false],
  [{ host, origin: 'http://localhost:7680' }, false],
  [{ host: 'LOCALHOST:7680', origin: 'http://localhost:7680' }, false],
  [{ host: 'lingpai.internal:443', origin: 'https://lingpai.internal' }, false],
  [{ host, origin: 'https://lingpai.example' }, false],
  [{ host, origin: 'http://localhost:3000' }, true],
  [{ host, origin: 'http://localhost' }, true],
  [{ host, origin: 'https://evil.example' }, true],
  [{ host, origin: 'null' }, true],
  [{ host, origin: '' }, true],
  [{ host, origin: 'file://' }, true],
  [{ origin: 'http://localhost:7680' }, true],
  [{ host, fetchSite: 'none' }, false],
  [{ host, fetchSite: 'same-origin' }, false],
  [{ host, fetchSite: 'cross-site', fetchMode: 'no-cors', method: 'GET' }, true],
  [{ host, fetchSite: 'same-site', fetchMode: 'no-cors', method: 'GET' }, true],
  [{ host, fetchSite: 'cross-site', fetchMode: 'navigate', method: 'GET' }, false],
  [{ host, fetchSite: 'cross-site', fetchMode: 'navigate', method: 'POST' }, true],
])('isForeign(%o) is %s', (request, foreign) => {
  expect(isForeign(request, ['lingpai.example'])).toBe(foreign);
});
