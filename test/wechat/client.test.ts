import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { TokenCall } from '../../src/core/tokens/ports.ts';
import type { WeChatCall, WeChatClient } from '../../src/wechat/client.ts';
import { messageCall } from '../../src/wechat/messages.ts';
import { tokenId } from '../../src/wechat/token-id.ts';
import { FakeClock } from '../support/clock.ts';
import {
  APP,
  bodyOf,
  CHANNELS,
  clientOf,
  deliveryOf,
  FORM_ID,
  failureOf,
  listen,
  never,
  nobody,
  OPENID,
  PROXY_PASSWORD,
  SECRET,
  serveBytes,
  serveHttp,
  TOKEN,
} from './support.ts';

const GRANTED = JSON.stringify({ access_token: TOKEN, expires_in: 7200 });
const GRANT = { value: TOKEN, id: tokenId(TOKEN), lifetimeMs: 7_200_000 };

describe('what is sent', () => {
  /** A server that grants, and the requests that it got. */
  async function recorder() {
    const seen: { request: IncomingMessage; url: URL; body: string }[] = [];
    const url = await serveHttp(async (request, response) => {
      seen.push({ request, url: new URL(request.url ?? '', 'http://wechat'), body: await bodyOf(request) });
      response.end(request.url?.includes('/get_api_domain_ip') ? '{"ip_list":[]}' : GRANTED);
    });
    return { url, seen };
  }

  test('classic is a GET with the credentials in the query', async () => {
    const { url, seen } = await recorder();
    expect(await clientOf(url).fetchToken(APP, 'classic', never())).toEqual(GRANT);
    expect(seen[0]?.request.method).toBe('GET');
    expect(seen[0]?.url.pathname).toBe('/cgi-bin/token');
    expect(Object.fromEntries(seen[0]?.url.searchParams ?? [])).toEqual({
      grant_type: 'client_credential',
      appid: 'wx0001',
      secret: SECRET,
    });
    expect(seen[0]?.body).toBe('');
  });

  test.each([
    ['stable', false],
    ['stable_force', true],
  ] as const)('%s is a POST with force_refresh %s', async (call, force_refresh) => {
    const { url, seen } = await recorder();
    expect(await clientOf(url).fetchToken(APP, call, never())).toEqual(GRANT);
    expect(seen[0]?.request).toMatchObject({ method: 'POST', url: '/cgi-bin/stable_token' });
    expect(seen[0]?.request.headers['content-type']).toBe('application/json');
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      grant_type: 'client_credential',
      appid: 'wx0001',
      secret: SECRET,
      force_refresh,
    });
  });

  test('the probe is a GET with the token in the query', async () => {
    const { url, seen } = await recorder();
    expect(await clientOf(url).probe('a+b&c', never())).toEqual({ accepted: true });
    expect(seen[0]?.request.method).toBe('GET');
    expect(seen[0]?.url.pathname).toBe('/cgi-bin/get_api_domain_ip');
    expect(seen[0]?.url.searchParams.get('access_token')).toBe('a+b&c');
  });

  test.each(['/wechat', '/wechat/'])('a base URL may end in the path %s', async (path) => {
    const { url, seen } = await recorder();
    await clientOf(url + path).fetchToken(APP, 'stable', never());
    expect(seen[0]?.url.pathname).toBe('/wechat/cgi-bin/stable_token');
  });

  test('connections are kept alive and compression is not asked for', async () => {
    const { url, seen } = await recorder();
    const client = clientOf(url);
    for (let i = 0; i < 10; i++) await client.fetchToken(APP, i % 2 ? 'stable' : 'classic', never());
    expect(new Set(seen.map(({ request }) => request.socket)).size).toBeLessThan(5);
    expect(seen[0]?.request.headers['accept-encoding']).toBeUndefined();
  });

  test.each(Object.values(CHANNELS))(
    'messages by $kind that hang hold up no token, and none another',
    async (channel) => {
      const hanging: ServerResponse[] = [];
      const { promise: allHang, resolve } = Promise.withResolvers<void>();
      const url = await serveHttp((request, response) => {
        if (!request.url?.includes('/message/')) response.end(GRANTED);
        else if (hanging.push(response) === 300) resolve();
      });
      const client = clientOf(url);
      const leave = new AbortController();
      let ended = 0;
      const sends = Array.from({ length: 300 }, () =>
        client.send(deliveryOf(channel), TOKEN, leave.signal).finally(() => ended++),
      );
      const left = Promise.allSettled(sends);
      expect(await client.fetchToken(APP, 'stable', never())).toEqual(GRANT);
      await allHang;
      // A message that timed out would have made way.
      expect(ended).toBe(0);
      leave.abort(new Error('left'));
      expect((await left).every(({ status }) => status === 'rejected')).toBe(true);
    },
  );
});

describe('answers that are not what WeChat documents', () => {
  const head = 'HTTP/1.1 200 OK\r\n';
  test.each([
    ['HTML', `${head}content-length: 6\r\n\r\n<html>`, /HTML/],
    ['an empty body', `${head}content-length: 0\r\n\r\n`, /empty body/],
    ['fewer bytes than announced', `${head}content-length: 999\r\n\r\n${GRANTED}`, /in part/],
    ['a cut chunked body', `${head}transfer-encoding: chunked\r\n\r\n4\r\n{"ac\r\n`, /in part/],
    ['a token cut by the end of the connection', `${head}\r\n${GRANTED.slice(0, 20)}`, /not whole JSON/],
    ['bytes that are not UTF-8', `${head}\r\n\x80\x81`, /not whole JSON/],
    ['something that is not HTTP', 'SSH-2.0-server\r\n', /not HTTP/],
    ['a bad chunk length', `${head}transfer-encoding: chunked\r\n\r\nxyz\r\n`, /not HTTP/],
    ['headers without end', `${head}a: ${'x'.repeat(100_000)}`, /not HTTP/],
    ['a bad gateway', 'HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n', /HTTP 502/],
  ])('%s', async (_, bytes, words) => {
    const client = clientOf(await serveBytes(bytes));
    for (const call of ['classic', 'stable'] as const) {
      const error = await failureOf(client.fetchToken(APP, call, never()));
      expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown', recovery: { kind: 'backoff' } });
      expect(error.message).toMatch(words);
    }
  });

  test('an interim answer before the answer proper is skipped', async () => {
    const url = await serveBytes(
      `HTTP/1.1 103 Early Hints\r\n\r\n${head}content-length: ${GRANTED.length}\r\n\r\n${GRANTED}`,
    );
    expect(await clientOf(url).fetchToken(APP, 'classic', never())).toEqual(GRANT);
  });

  test.each([
    [
      '/elsewhere',
      'HTTP 302, a redirect to /elsewhere, which is not followed. If WeChat is there, correct upstream.base_url.',
    ],
    [
      `https://user:${PROXY_PASSWORD}@portal.test:8443/login?next=${encodeURIComponent(SECRET)}#${SECRET}`,
      'HTTP 302, a redirect to https://portal.test:8443/login, which is not followed.',
    ],
    [`//portal.test/to/${encodeURIComponent(SECRET)}/x`, 'a redirect to http://portal.test/to/***/x, which'],
    [`http://portal.test/${'x'.repeat(4_000)}`, `http://portal.test/${'x'.repeat(181)}..., which`],
    ['http://', 'HTTP 302. If this lasts'],
    ['javascript:alert(1)', 'HTTP 302. If this lasts'],
    ['', 'HTTP 302. If this lasts'],
  ])('a redirect to %j is told of and not followed', async (location, words) => {
    const paths: (string | undefined)[] = [];
    const url = await serveHttp((request, response) => {
      paths.push(request.url?.split('?')[0]);
      response.writeHead(302, { location }).end();
    });
    const error = await failureOf(clientOf(url).fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
    expect(error.message).toContain(words);
    expect(paths).toEqual(['/cgi-bin/token']);
  });

  test('64 KiB are read, and not one byte more is waited for', async () => {
    const padded = (bytes: number) => GRANTED.padEnd(bytes, ' ');
    let closed: Promise<unknown> | undefined;
    const url = await serveHttp((request, response) => {
      closed = once(response, 'close');
      if (request.method === 'GET') response.end(padded(65536));
      // The answer goes on for ever: it ends only because the reader hangs up.
      else response.write(padded(65537));
    });
    const client = clientOf(url);
    expect(await client.fetchToken(APP, 'classic', never())).toEqual(GRANT);
    const error = await failureOf(client.fetchToken(APP, 'stable', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
    expect(error.message).toContain('more than 64 KiB');
    await closed;
  });

  test('a slow trickle ends at 64 KiB', async () => {
    let sent = 0;
    const url = await serveHttp((_, response) => {
      const trickle = () => {
        sent += 1024;
        if (!response.destroyed) response.write(' '.repeat(1024), () => setImmediate(trickle));
      };
      trickle();
    });
    const error = await failureOf(clientOf(url).fetchToken(APP, 'classic', never()));
    expect(error.message).toContain('more than 64 KiB');
    expect(sent).toBeGreaterThan(65536);
  });
});

describe('no answer', () => {
  test('nobody listens: unsent', async () => {
    const url = await nobody();
    const error = await failureOf(clientOf(url).fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent', recovery: { kind: 'backoff' } });
    expect(error.message).toContain(`at ${new URL(url).host} (the connection was refused, ECONNREFUSED)`);
  });

  test('a name that does not resolve: unsent', async () => {
    // No resolver has to be asked: a label has at most 63 characters.
    const error = await failureOf(clientOf(`http://${'x'.repeat(64)}.invalid`).fetchToken(APP, 'stable', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  });

  test('the other end does not speak TLS: unsent', async () => {
    const url = await serveBytes('HTTP/1.1 400 Bad Request\r\n\r\n');
    const error = await failureOf(clientOf(url.replace('http:', 'https:')).fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  });

  test.each(['classic', 'stable_force'] as const)('a reset after %s was sent: unknown, and sent once', async (call) => {
    let requests = 0;
    const url = await serveHttp((request) => {
      requests++;
      request.socket.resetAndDestroy();
    });
    const error = await failureOf(clientOf(url).fetchToken(APP, call, never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
    expect(requests).toBe(1);
  });

  test('a connection closed without an answer: unknown', async () => {
    const url = await serveBytes('');
    const error = await failureOf(clientOf(url).fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
  });

  test.each(['classic', 'stable', 'stable_force'] as const)(
    'a %s call that hangs ends with its signal',
    async (call) => {
      const { url, arrived } = await hanging();
      const caller = new AbortController();
      const failure = failureOf(clientOf(url).fetchToken(APP, call, caller.signal));
      const response = await arrived;
      const closed = once(response, 'close');
      caller.abort();
      expect(await failure).toMatchObject({
        reason: 'UPSTREAM_TIMEOUT',
        effect: 'unknown',
        recovery: { kind: 'backoff' },
      });
      await closed;
    },
  );

  test('a probe that hangs half-way through its answer ends with its signal', async () => {
    const url = await serveHttp((_, response) => {
      response.write('{"ip_list":[', () => caller.abort());
    });
    const caller = new AbortController();
    expect(await failureOf(clientOf(url).probe(TOKEN, caller.signal))).toMatchObject({ reason: 'UPSTREAM_TIMEOUT' });
  });

  test('a hang ends by itself when nobody aborts', async () => {
    const { url } = await hanging();
    const error = await failureOf(clientOf(url, { timeoutMs: 1 }).fetchToken(APP, 'classic', never()));
    // Which of the two it is depends on whether this machine connects within a millisecond.
    expect(['UPSTREAM_TIMEOUT', 'UPSTREAM_UNREACHABLE']).toContain(error.reason);
  });

  test('a signal that is aborted already: unsent, and nothing is sent', async () => {
    let requests = 0;
    const url = await serveHttp((_, response) => {
      requests++;
      response.end(GRANTED);
    });
    const client = clientOf(url);
    const error = await failureOf(client.fetchToken(APP, 'classic', AbortSignal.abort()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
    await client.fetchToken(APP, 'classic', never());
    expect(requests).toBe(1);
  });

  test.each([
    ['a token', (client: WeChatClient) => client.fetchToken(APP, 'classic', never())],
    ['a message', (client: WeChatClient) => client.send(deliveryOf(CHANNELS.subscribe), TOKEN, never())],
  ])('after close, for %s: unsent; a call in progress fails', async (_, call) => {
    const { url, arrived } = await hanging();
    const client = clientOf(url);
    const failure = failureOf(call(client));
    await arrived;
    await client.close();
    expect(await failure).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
    expect(await failureOf(call(client))).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  });
});

describe('through a proxy', () => {
  const withPassword = (url: string): string => url.replace('//', `//user:${PROXY_PASSWORD}@`);

  test('the proxy gets the request and its credentials', async () => {
    let seen: IncomingMessage | undefined;
    const proxy = await serveHttp((request, response) => {
      seen = request;
      response.end(GRANTED);
    });
    const client = clientOf('http://wechat.test', { proxy: withPassword(proxy) });
    expect(await client.fetchToken(APP, 'stable', never())).toEqual(GRANT);
    expect(seen?.url).toBe('http://wechat.test/cgi-bin/stable_token');
    await client.send(deliveryOf(CHANNELS.subscribe), TOKEN, never()).catch(() => undefined);
    expect(seen?.url).toContain('http://wechat.test/cgi-bin/message/subscribe/send?');
    expect(seen?.headers['proxy-authorization']).toBe(
      `Basic ${Buffer.from(`user:${PROXY_PASSWORD}`).toString('base64')}`,
    );
  });

  test('a proxy that wants other credentials', async () => {
    const proxy = await serveHttp((_, response) => response.writeHead(407).end('no'));
    const client = clientOf('http://wechat.test', { proxy: withPassword(proxy) });
    const error = await failureOf(client.fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
    expect(error.message).toContain(
      `wechat.test through the proxy ${new URL(proxy).host} (the proxy answered HTTP 407`,
    );
  });

  test('a proxy that is not there: unsent', async () => {
    const client = clientOf('https://wechat.test', { proxy: withPassword(await nobody()) });
    const error = await failureOf(client.fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  });

  test('a proxy that refuses the tunnel: unsent', async () => {
    const server = createServer();
    server.on('connect', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
    const client = clientOf('https://wechat.test', { proxy: withPassword(await listen(server)) });
    const error = await failureOf(client.fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
    expect(error.message).toContain('the proxy answered HTTP 403');
  });

  test('a caller that leaves before there is a connection: at once, and unsent', async () => {
    const connecting = Promise.withResolvers<void>();
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => connecting.resolve());
    });
    const client = clientOf('https://wechat.test', { proxy: withPassword(await listen(server)) });
    const caller = new AbortController();
    const failure = failureOf(client.fetchToken(APP, 'stable_force', caller.signal));
    await connecting.promise;
    caller.abort();
    expect(await failure).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  });
});

describe('observe', () => {
  test('is told of every call, its time and its result', async () => {
    const clock = new FakeClock();
    const calls: WeChatCall[] = [];
    const url = await serveHttp(async (request, response) => {
      await clock.advance(70);
      const answers: Record<string, string> = {
        '/cgi-bin/token': GRANTED,
        '/cgi-bin/stable_token': '{"errcode":40164,"errmsg":"invalid ip"}',
        '/cgi-bin/get_api_domain_ip': '{"errcode":42001,"errmsg":"expired"}',
      };
      response.end(answers[request.url?.split('?')[0] ?? '']);
    });
    const client = clientOf(url, { clock, observe: (call) => calls.push(call) });
    await client.fetchToken(APP, 'classic', never());
    await failureOf(client.fetchToken(APP, 'stable', never()));
    expect(await client.probe(TOKEN, never())).toEqual({ accepted: false, errcode: 42001 });
    await client.close();
    await failureOf(client.probe(TOKEN, never()));
    expect(calls).toEqual([
      { endpoint: 'token', durationMs: 70, result: 'ok' },
      { endpoint: 'stable_token', durationMs: 70, result: '40164' },
      { endpoint: 'probe', durationMs: 70, result: '42001' },
      { endpoint: 'probe', durationMs: 0, result: 'UPSTREAM_UNREACHABLE' },
    ]);
  });
});

/** A server that never answers, and the first request that reached it. */
async function hanging(): Promise<{ url: string; arrived: Promise<ServerResponse> }> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  return { url: await serveHttp((_, response) => resolve(response)), arrived: promise };
}

test('many calls at once each get their own answer', async () => {
  const url = await serveHttp(async (request, response) => {
    const { appid } = JSON.parse(await bodyOf(request)) as { appid: string };
    response.end(JSON.stringify({ access_token: `token-of-${appid}`, expires_in: 60 }));
  });
  const client = clientOf(url);
  const call: TokenCall = 'stable';
  const ids = Array.from({ length: 300 }, (_, i) => `wx${i}`);
  const grants = await Promise.all(ids.map((appId) => client.fetchToken({ ...APP, appId }, call, never())));
  expect(grants.map((grant) => grant.value)).toEqual(ids.map((id) => `token-of-${id}`));
});

describe('messages', () => {
  const SENT = '{"errcode":0,"errmsg":"ok","msgid":3456789012345678901}';

  test.each([
    ['mini_program', '/cgi-bin/message/wxopen/template/send'],
    ['subscribe', '/cgi-bin/message/subscribe/send'],
    ['official_account', '/cgi-bin/message/template/send'],
    ['subscription_notice', '/cgi-bin/message/subscribe/bizsend'],
  ] as const)('%s is a POST with the token in the query', async (kind, path) => {
    let seen: { request: IncomingMessage; url: URL; body: unknown } | undefined;
    const url = await serveHttp(async (request, response) => {
      const body = JSON.parse(await bodyOf(request));
      seen = { request, url: new URL(request.url ?? '', 'http://wechat'), body };
      response.end(SENT);
    });
    const delivery = deliveryOf(CHANNELS[kind]);
    const sent = await clientOf(`${url}/wechat`).send(delivery, 'a+b&c', never());
    expect(sent).toEqual({ messageId: '3456789012345678901', rid: '' });
    expect(seen?.request.method).toBe('POST');
    expect(seen?.request.headers['content-type']).toBe('application/json');
    expect(seen?.url.pathname).toBe(`/wechat${path}`);
    expect([...(seen?.url.searchParams ?? [])]).toEqual([['access_token', 'a+b&c']]);
    expect(seen?.body).toEqual(messageCall(delivery).body);
  });

  test('nobody listens: unsent', async () => {
    const call = clientOf(await nobody()).send(deliveryOf(CHANNELS.subscribe), TOKEN, never());
    expect(await failureOf(call)).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
  });

  test('a signal that is aborted already: unsent', async () => {
    const call = clientOf(await nobody()).send(deliveryOf(CHANNELS.subscribe), TOKEN, AbortSignal.abort());
    expect(await failureOf(call)).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  });

  test.each(Object.values(CHANNELS))('a reset after $kind was sent: unknown, and sent once', async (channel) => {
    let requests = 0;
    const url = await serveHttp(async (request) => {
      requests++;
      await bodyOf(request);
      request.socket.resetAndDestroy();
    });
    const error = await failureOf(clientOf(url).send(deliveryOf(channel), TOKEN, never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unknown' });
    expect(requests).toBe(1);
  });

  test('a message whose answer never comes ends with its signal: unknown', async () => {
    const { url, arrived } = await hanging();
    const caller = new AbortController();
    const failure = failureOf(clientOf(url).send(deliveryOf(CHANNELS.subscribe), TOKEN, caller.signal));
    await arrived;
    caller.abort();
    expect(await failure).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unknown' });
  });

  test('a cut answer: unknown; an errcode: refused, and no error shows the token, the openid or the form_id', async () => {
    const answers = [SENT.slice(0, -4), JSON.stringify({ errcode: 41029, errmsg: `used ${FORM_ID} of ${OPENID}` })];
    const url = await serveHttp((_, response) => response.end(answers.shift()));
    const client = clientOf(url);
    const send = () => failureOf(client.send(deliveryOf(CHANNELS.mini_program), TOKEN, never()));
    expect(await send()).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
    expect(await send()).toMatchObject({
      reason: 'FORM_ID_USED',
      effect: 'refused',
      answer: { errmsg: 'used *** of ***' },
    });
  });

  test('observe is told of each channel', async () => {
    const calls: WeChatCall[] = [];
    const answers = [SENT, '{"errcode":43101,"errmsg":"no"}', '<html>'];
    const url = await serveHttp((_, response) => response.end(answers.shift()));
    const client = clientOf(url, { observe: (call) => calls.push(call) });
    await client.send(deliveryOf(CHANNELS.official_account), TOKEN, never());
    await failureOf(client.send(deliveryOf(CHANNELS.subscribe), TOKEN, never()));
    await failureOf(client.send(deliveryOf(CHANNELS.mini_program), TOKEN, never()));
    expect(calls.map(({ endpoint, result }) => [endpoint, result])).toEqual([
      ['message_official_account', 'ok'],
      ['message_subscribe', '43101'],
      ['message_mini_program', 'UPSTREAM_MALFORMED'],
    ]);
  });
});
