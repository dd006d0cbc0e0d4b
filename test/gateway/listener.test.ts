import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeKey } from '../support/access-key.ts';
import { fetchToken, type Housed, housed } from '../support/gateway.ts';

const orders = makeKey('orders');
const RULES = [{ who: ['key:orders'], may: ['call'], apps: ['*'] }] as const;
const SEND = '/cgi-bin/message/custom/send';

const guarded = async () => {
  const house = await housed({ keys: [orders], rules: RULES });
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  return { house, standIn };
};

/** A connection on which a test writes what it likes, and all that came back. */
function talk({ port }: Housed) {
  const socket: Socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  return {
    socket,
    write: (written: string) => void socket.write(written, 'latin1'),
    /** What came, once it matches. */
    async until(pattern: RegExp): Promise<string> {
      while (!pattern.test(text))
        await Promise.race([once(socket, 'data'), closed.then(() => expect.fail(`closed: ${text}`))]);
      return text;
    },
    async end(): Promise<string> {
      await closed;
      return text;
    },
  };
}

const get = (path: string, ...headers: string[]) =>
  `${[`GET ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers].join('\r\n')}\r\n\r\n`;
const post = (path: string, ...headers: string[]) => get(path, ...headers).replace('GET', 'POST');

it('HEAD has the head of the answer and no body', async () => {
  const { house } = await guarded();
  const line = talk(house);
  const query = `grant_type=client_credential&appid=wxc&secret=${orders.key}`;
  line.write(get(`/cgi-bin/token?${query}`, 'Connection: close').replace('GET', 'HEAD'));
  const text = await line.end();
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(text).toMatch(/content-type: application\/json/i);
  expect(text.split('\r\n\r\n')[1]).toBe('');
});

describe('expect: 100-continue', () => {
  it('is answered once it is known that the caller may call', async () => {
    const { house, standIn } = await guarded();
    house.forwarder.answer = async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      response.end(Buffer.concat(chunks));
    };
    const line = talk(house);
    line.write(
      post(`${SEND}?access_token=${standIn}`, 'Content-Length: 4', 'Expect: 100-continue', 'Connection: close'),
    );
    await line.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    line.write('body');
    expect(await line.end()).toMatch(/200 OK[\s\S]*\r\n\r\nbody$/);
  });

  it('is not for one that may not: its body is not asked for', async () => {
    const { house } = await guarded();
    const line = talk(house);
    line.write(post(`${SEND}?access_token=no`, 'Content-Length: 4', 'Expect: 100-continue', 'Connection: close'));
    const text = await line.until(/40001/);
    expect(text).not.toContain('100 Continue');
    expect(house.forwarder.calls).toEqual([]);
  });

  it('is at once for a call whose body says who calls', async () => {
    const { house } = await guarded();
    const line = talk(house);
    const body = JSON.stringify({ grant_type: 'client_credential', appid: 'wxc', secret: orders.key });
    const length = `Content-Length: ${body.length}`;
    line.write(post('/cgi-bin/stable_token', length, 'Expect: 100-continue', 'Connection: close'));
    await line.until(/100 Continue/);
    line.write(body);
    expect(await line.end()).toContain('lps1.');
  });
});

describe('a request of which two readers may think different things', () => {
  it.each([
    ['two content-lengths', ['Content-Length: 5', 'Content-Length: 6']],
    ['content-length and chunked', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    ['chunked and not', ['Transfer-Encoding: chunked, identity']],
    ['a content-length that is none', ['Content-Length: +5']],
    ['a header with a space before its colon', ['Content-Length : 5']],
    ['a folded header', ['X: a', ' b']],
    ['no host', []],
  ])('by %s is refused, and its connection ends', async (what, headers) => {
    const { house, standIn } = await guarded();
    const line = talk(house);
    const head = post(`${SEND}?access_token=${standIn}`, ...headers);
    line.write(`${what === 'no host' ? head.replace('Host: 127.0.0.1\r\n', '') : head}0\r\n\r\n${get('/smuggled')}`);
    const text = await line.end();
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(house.forwarder.calls).toEqual([]);
  });

  it('by two hosts is not passed on', async () => {
    const { house, standIn } = await guarded();
    const line = talk(house);
    line.write(get(`${SEND}?access_token=${standIn}`, 'host: api.weixin.qq.com', 'Connection: close'));
    expect(await line.end()).toContain('more than one Host');
    expect(house.forwarder.calls).toEqual([]);
  });

  it('by a bare line feed between headers is refused, or read as one request', async () => {
    const { house, standIn } = await guarded();
    const line = talk(house);
    line.write(`GET ${SEND}?access_token=${standIn} HTTP/1.1\nHost: 127.0.0.1\n\n`);
    expect(await line.end()).toMatch(/^HTTP\/1\.1 400 /);
    expect(house.forwarder.calls).toEqual([]);
  });
});

describe('a target that is no path of WeChat', () => {
  it.each([
    'http://api.weixin.qq.com/cgi-bin/user/get',
    'https://127.0.0.1/cgi-bin/user/get',
    '/cgi-bin/message/../user/get',
    '/cgi-bin/message/%2e%2e/user/get',
    '/cgi-bin/message/..%2fuser/get',
    '/cgi-bin/./user/get',
    '/cgi-bin/message\\..\\user',
    '/cgi-bin/message/;/user',
    '/cgi-bin/user/get#x',
    '*',
  ])('%s: 40066', async (target) => {
    const { house, standIn } = await guarded();
    const line = talk(house);
    const url = target.includes('#') || target === '*' ? target : `${target}?access_token=${standIn}`;
    line.write(get(url, 'Connection: close').replace('GET *', 'OPTIONS *'));
    const text = await line.end();
    expect(text).toMatch(/^HTTP\/1\.1 (200 OK[\s\S]*"errcode":40066|400 )/);
    expect(house.forwarder.calls).toEqual([]);
  });
});

it('CONNECT opens no tunnel', async () => {
  const { house } = await guarded();
  const line = talk(house);
  line.write('CONNECT api.weixin.qq.com:443 HTTP/1.1\r\nHost: api.weixin.qq.com:443\r\n\r\n');
  expect(await line.end()).not.toMatch(/^HTTP\/1\.1 2/);
  expect(house.forwarder.calls).toEqual([]);
});

it('an upgrade is an ordinary request', async () => {
  const { house, standIn } = await guarded();
  const line = talk(house);
  line.write(get(`${SEND}?access_token=${standIn}`, 'Connection: Upgrade', 'Upgrade: websocket'));
  expect(await line.until(/errcode/)).toMatch(/^HTTP\/1\.1 200 OK/);
  expect(house.forwarder.calls).toHaveLength(1);
});

it('a head of more than 16 KiB is refused', async () => {
  const { house } = await guarded();
  const line = talk(house);
  line.write(get('/', `X: ${'x'.repeat(20_000)}`));
  expect(await line.end()).toMatch(/^HTTP\/1\.1 431 /);
});

it('a body that does not come is not waited for longer than 10 s', async () => {
  const { house } = await guarded();
  const line = talk(house);
  line.write(post('/cgi-bin/stable_token', 'Content-Length: 100'));
  line.write('{');
  while (house.clock.pending === 0) await new Promise((resolve) => void setImmediate(resolve));
  const answered = line.until(/"errcode":-1/);
  for (let i = 0; i < 11; i++) {
    await new Promise((resolve) => void setTimeout(resolve, 5));
    await house.clock.advance(1_000);
  }
  expect(await answered).toMatch(/^HTTP\/1\.1 200 OK/);
  // And what is left of it no longer than half a minute.
  await house.clock.advance(31_000);
  await line.end();
});

it('requests in a pipeline are answered in their order, and not more than 16 at once', async () => {
  const { house, standIn } = await guarded();
  const line = talk(house);
  const calls = Array.from({ length: 10 }, (_, i) => get(`/cgi-bin/n${i}?access_token=${standIn}`));
  line.write(calls.join(''));
  const text = await line.until(/n9"/);
  expect([...text.matchAll(/cgi-bin\/(n\d)"/g)].map(([, path]) => path)).toEqual(calls.map((_, i) => `n${i}`));
  house.forwarder.answer = async (_, response) => void (await once(response, 'close'));
  line.write(Array.from({ length: 17 }, () => get(`/cgi-bin/x?access_token=${standIn}`)).join(''));
  await line.end();
});

describe('a web page', () => {
  it('of another origin is answered nothing that it wants', async () => {
    const { house, standIn } = await guarded();
    const line = talk(house);
    line.write(post(`${SEND}?access_token=${standIn}`, 'Origin: https://evil.example', 'Content-Length: 0'));
    expect(await line.until(/errmsg/)).toContain('web page of another origin');
    expect(house.forwarder.calls).toEqual([]);
  });

  it('whose name was made to lead here is not answered, and api.weixin.qq.com is', async () => {
    const { house, standIn } = await guarded();
    const asked = async (host: string) => {
      const line = talk(house);
      line.write(get(`${SEND}?access_token=${standIn}`, 'Connection: close').replace('127.0.0.1', host));
      return await line.end();
    };
    expect(await asked('evil.example')).toContain('the request is for');
    expect(house.forwarder.calls).toEqual([]);
    expect(await asked('api.weixin.qq.com')).toContain('"errcode":0');
  });
});
