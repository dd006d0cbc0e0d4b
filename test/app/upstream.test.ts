import { expect, test } from 'vitest';
import { isInClear, upstreamOptions } from '../../src/app/upstream.ts';
import type { Config } from '../../src/config/config.ts';

const ignoredProxy = (env: NodeJS.ProcessEnv, baseUrl = 'https://wechat.test', proxy: string | null = null) => {
  const config = { upstream: { baseUrl, proxy }, settings: { timeoutMs: 1 } } as Config;
  return upstreamOptions(config, env).ignoredProxy;
};

test.each([
  [{}, null],
  [{ HTTPS_PROXY: '' }, null],
  [{ HTTPS_PROXY: 'http://px:3128' }, 'HTTPS_PROXY'],
  [{ https_proxy: 'http://px:3128' }, 'https_proxy'],
  [{ ALL_PROXY: 'http://px:3128' }, 'ALL_PROXY'],
  [{ http_proxy: 'http://px:3128' }, null],
])('of the environment %j the proxy in %s is not used', (env, name) => {
  expect(ignoredProxy(env)).toBe(name);
});

test('there is none to be missed where upstream.proxy names one, or for this machine', () => {
  const env = { HTTPS_PROXY: 'http://px:3128', http_proxy: 'http://px:3128' };
  expect(ignoredProxy(env, 'https://wechat.test', 'http://other:3128')).toBeNull();
  expect(ignoredProxy(env, 'http://wechat.test')).toBe('http_proxy');
  for (const host of ['127.0.0.1:7690', 'localhost', '[::1]:7690'])
    expect(ignoredProxy(env, `http://${host}`)).toBeNull();
});

test.each([
  ['http://wechat.test', true],
  ['http://10.0.0.7:7690/wechat', true],
  ['https://wechat.test', false],
  ['http://127.0.0.1:7690', false],
  ['http://[::1]:7690', false],
  ['http://localhost:7690', false],
])('%s in clear beyond this machine: %s', (baseUrl, expected) => {
  expect(isInClear(baseUrl)).toBe(expected);
});
