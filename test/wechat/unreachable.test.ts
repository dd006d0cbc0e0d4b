import { createServer } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { WeChatClientOptions } from '../../src/wechat/client.ts';
import {
  APP,
  clientOf,
  failureOf,
  listen,
  never,
  nobody,
  serveBytes,
  serveHttp,
  tlsServer,
  trustTestCertificate,
  tunnelling,
} from './support.ts';

const secure = (url: string): string => url.replace('http:', 'https:');
const byAnotherName = (url: string): string => url.replace('127.0.0.1', 'localhost');
const hostOf = (url: string): string => new URL(url).host;

/** What is said where WeChat cannot be reached there; nothing was sent. */
async function complaint(baseUrl: string, options: Partial<WeChatClientOptions> = {}): Promise<string> {
  const error = await failureOf(clientOf(baseUrl, options).fetchToken(APP, 'classic', never()));
  expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  return error.message;
}

describe('a certificate that nobody trusts', () => {
  const NOT_TRUSTED =
    "shows a certificate that is not trusted. Name the file of its authority's in the environment: NODE_EXTRA_CA_CERTS=FILE (DEPTH_ZERO_SELF_SIGNED_CERT).";

  test("WeChat's", async () => {
    const wechat = secure(await listen(tlsServer()));
    const host = hostOf(wechat);
    expect(await complaint(wechat)).toBe(`WeChat could not be reached at ${host}: ${host} ${NOT_TRUSTED}`);
  });

  test("WeChat's behind a proxy", async () => {
    const [wechat, proxy] = [secure(await listen(tlsServer())), await listen(tunnelling(createServer()))];
    expect(await complaint(wechat, { proxy })).toBe(
      `WeChat could not be reached at ${hostOf(wechat)} through the proxy ${hostOf(proxy)}: ${hostOf(wechat)} ${NOT_TRUSTED}`,
    );
  });

  test.each(['http://wechat.test', 'https://wechat.test'])("the proxy's, on the way to %s", async (wechat) => {
    const proxy = secure(await listen(tlsServer()));
    expect(await complaint(wechat, { proxy })).toBe(
      `WeChat could not be reached at wechat.test through the proxy ${hostOf(proxy)}: the proxy ${hostOf(proxy)} ${NOT_TRUSTED}`,
    );
  });
});

describe("another host's certificate", () => {
  const OTHER = 'shows the certificate of another host. Write the name that is in it in';

  test("WeChat's", async () => {
    trustTestCertificate();
    const wechat = byAnotherName(secure(await listen(tlsServer())));
    expect(await complaint(wechat)).toContain(`: ${hostOf(wechat)} ${OTHER} upstream.base_url (`);
  });

  test.each(['http://wechat.test', 'https://wechat.test'])("the proxy's, on the way to %s", async (wechat) => {
    trustTestCertificate();
    const proxy = byAnotherName(secure(await listen(tlsServer())));
    expect(await complaint(wechat, { proxy })).toContain(`: the proxy ${hostOf(proxy)} ${OTHER} upstream.proxy (`);
  });
});

describe('no TLS', () => {
  test.each([
    [
      'plain HTTP',
      'HTTP/1.1 400 Bad Request\r\n\r\n',
      /does not speak TLS at this port\. .* upstream\.base_url \(ERR_SSL_/,
    ],
    ['an alert', '\x15\x03\x01\x00\x02\x02\x28', /do not agree on TLS.*\(ERR_SSL_SSL\/TLS_ALERT_HANDSHAKE_FAILURE\)/],
  ])('%s', async (_, bytes, words) => {
    expect(await complaint(secure(await serveBytes(bytes)))).toMatch(words);
  });
});

describe('a proxy that only the environment names', () => {
  const HINT =
    ' HTTPS_PROXY is set in the environment, which Lingpai does not read: write the proxy into upstream.proxy.';
  const unknown = `http://${'x'.repeat(64)}.invalid`;

  test.each([
    ['the name does not resolve', async () => unknown, /\(its name does not resolve, ENOTFOUND\)\./],
    ['the connection is refused', nobody, /\(the connection was refused, ECONNREFUSED\)\./],
  ])('is told of where %s', async (_, url, words) => {
    const message = await complaint(await url(), { ignoredProxy: 'HTTPS_PROXY' });
    expect(message).toMatch(words);
    expect(message.endsWith(HINT)).toBe(true);
    expect(await complaint(await url())).not.toContain('environment');
  });

  test('is not told of where WeChat was reached', async () => {
    const url = await serveHttp((request) => request.socket.resetAndDestroy());
    const client = clientOf(url, { ignoredProxy: 'HTTPS_PROXY' });
    expect((await failureOf(client.fetchToken(APP, 'classic', never()))).message).not.toContain('HTTPS_PROXY');
  });
});

test.each(['http://wechat.test', 'https://wechat.test'])(
  'it is the proxy that is not there, on the way to %s',
  async (wechat) => {
    expect(await complaint(wechat, { proxy: await nobody() })).toContain(
      '(to the proxy: the connection was refused, ECONNREFUSED)',
    );
  },
);

test.each([
  ['speaks something else', 'SSH-2.0-server\r\n'],
  ['does not end its headers', `HTTP/1.1 200 OK\r\na: ${'x'.repeat(100_000)}`],
])('a proxy that %s: unsent, and it is the proxy', async (_, bytes) => {
  const message = await complaint('https://wechat.test', { proxy: await serveBytes(bytes) });
  expect(message).toContain('(the proxy does not speak HTTP, ');
});

test('a caller that leaves before there is a connection learns what was tried, and of the proxy in the environment', async () => {
  const dispatched = clientOf('http://127.0.0.1:1', { ignoredProxy: 'https_proxy' });
  const error = await failureOf(dispatched.fetchToken(APP, 'classic', AbortSignal.abort()));
  expect(error).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  expect(error.message).toBe(
    'No connection to WeChat at 127.0.0.1:1 came about in time. https_proxy is set in the environment, which Lingpai does not read: write the proxy into upstream.proxy.',
  );
});

test('a proxy that wants other credentials says so for a tunnel too', async () => {
  const server = createServer();
  server.on('connect', (_, socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'));
  expect(await complaint('https://wechat.test', { proxy: await listen(server) })).toContain(
    '(the proxy answered HTTP 407: write its user and password into upstream.proxy, ',
  );
});
