import { describe, expect, it } from 'vitest';
import { APP, ask, KEY, rawUpstream, rig, SECRET, STANDIN, say, talk, upstream } from './support.ts';

const OK = { errcode: 0, errmsg: 'ok' };
const QUERY = `access_token=${STANDIN}`;

async function echoing() {
  const wechat = await upstream((_, __, response) => say(response, OK));
  return { wechat, gateway: await rig(wechat.url) };
}

describe('what goes out', () => {
  it.each([
    [
      'as it came',
      `/a%2Fb/%E4%BB%A4;v=1?${QUERY}&b=%41+%20&&c&=d`,
      '/a%2Fb/%E4%BB%A4;v=1?access_token=token-1&b=%41+%20&&c&=d',
    ],
    ['where it stood', `/x?z=1&${QUERY}&a=2`, '/x?z=1&access_token=token-1&a=2'],
    ['once', `/x?${QUERY}&access_token=other&${QUERY}`, '/x?access_token=token-1'],
    ['in lower case', `/x?Access_Token=${STANDIN}&ACCESS_TOKEN=x`, '/x?access_token=token-1'],
    ['by an encoded name', `/x?access%5Ftoken=${STANDIN}&a`, '/x?access_token=token-1&a'],
    ['though none came', '/x?a=1', '/x?a=1&access_token=token-1'],
    ['though nothing came', '/x', '/x?access_token=token-1'],
    [
      'without the stand-in elsewhere',
      `/x?${QUERY}&t=${STANDIN}&u=a${encodeURIComponent(`&${STANDIN}`)}`,
      '/x?access_token=token-1',
    ],
    ['though encoded bytes are no text', `/x?${QUERY}&b=%ff%GG`, '/x?access_token=token-1&b=%ff%GG'],
  ])('has the token: %s', async (_, path, expected) => {
    const { wechat, gateway } = await echoing();
    expect((await ask(gateway.url, path)).json).toEqual(OK);
    expect(wechat.requests.map(({ url }) => url)).toEqual([expected]);
  });

  it('stands behind the path of base_url', async () => {
    const wechat = await upstream((_, __, response) => say(response, OK));
    const gateway = await rig(`${wechat.url}/wechat/`);
    await ask(gateway.url, `/cgi-bin/x?${QUERY}`);
    expect(wechat.requests[0]?.url).toBe('/wechat/cgi-bin/x?access_token=token-1');
  });

  it('has an encoded token, whatever is in it', async () => {
    const { wechat, gateway } = await echoing();
    gateway.token = 'a&b=c/+ d';
    await ask(gateway.url, `/x?${QUERY}`);
    expect(wechat.requests[0]?.url).toBe('/x?access_token=a%26b%3Dc%2F%2B%20d');
  });

  it('has the headers that came, but for those of this hop and of ours', async () => {
    const { wechat, gateway } = await echoing();
    const headers = [
      ...['Host', 'evil.example', 'X-Unknown', 'a', 'x-unknown', 'b', 'Cookie', 'c=1', 'User-Agent', 'sdk/1'],
      ...['Authorization', 'Bearer x', 'Proxy-Authorization', 'Basic x', 'TE', 'trailers', 'Keep-Alive', 'timeout=5'],
      ...['Connection', 'close, X-Hop', 'X-Hop', '1', 'Upgrade', 'h2c', 'Accept-Encoding', 'gzip'],
      ...['Referer', `http://gw/x?${QUERY}`, 'X-Copy', `Bearer ${encodeURIComponent(STANDIN)}`],
      ...['Content-Type', 'application/json', 'Content-Length', '2', 'Expect', '100-continue'],
    ];
    await ask(gateway.url, `/x?${QUERY}`, { method: 'POST', headers, body: '{}' });
    const { host } = new URL(wechat.url);
    expect(wechat.requests[0]?.rawHeaders).toEqual([
      ...['host', host, 'connection', 'keep-alive', 'accept-encoding', 'identity'],
      ...['X-Unknown', 'a', 'x-unknown', 'b', 'Cookie', 'c=1', 'User-Agent', 'sdk/1'],
      ...['Content-Type', 'application/json', 'content-length', '2'],
    ]);
  });

  it.each([
    ['JSON', 'application/json', `{"t":"${STANDIN}"}`, `{"t":"${'*'.repeat(STANDIN.length)}"}`],
    ['a form', 'application/x-www-form-urlencoded', `a=%20&Access_token=x&${QUERY}&b=${STANDIN}&c`, 'a=%20&c'],
    ['a form of no token', 'application/x-www-form-urlencoded; charset=utf-8', 'a=1', 'a=1'],
  ])('has no stand-in in %s', async (_, type, body, expected) => {
    const { wechat, gateway } = await echoing();
    await ask(gateway.url, `/x?${QUERY}`, { method: 'POST', headers: { 'content-type': type }, body });
    expect(wechat.requests[0]?.body.toString()).toBe(expected);
  });

  it('has no stand-in in a body that is streamed, wherever its pieces part', async () => {
    const { wechat, gateway } = await echoing();
    const body = Buffer.from(`${'x'.repeat(100_000)}lps1.lps${`${STANDIN}lps1`.repeat(3_000)}lps1.c3R`);
    await ask(gateway.url, `/x?${QUERY}`, { method: 'POST', body });
    const expected = body.toString().replaceAll(STANDIN, '*'.repeat(STANDIN.length));
    expect(wechat.requests[0]?.body.toString() === expected).toBe(true);
  });

  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('keeps the method: %s', async (method) => {
    const { wechat, gateway } = await echoing();
    await ask(gateway.url, `/x?${QUERY}`, { method });
    expect(wechat.requests[0]?.method).toBe(method);
  });
});

describe('what does not go out', () => {
  it.each([
    ['a method that shows the token', 'TRACE /x', 43002],
    ['a path that leads elsewhere', 'GET /wxa/../cgi-bin/x', 40066],
    ['such a path, encoded', 'GET /wxa/%2e%2E/cgi-bin/x', 40066],
    ['such a path, by an encoded slash', 'GET /wxa/..%2fcgi-bin/x', 40066],
    ['a path of this place', 'GET /wxa/./x', 40066],
    ['an absolute target', 'GET http://evil.example/x', 40066],
    ['a coding that is not undone', 'POST /x', 47001, 'Transfer-Encoding: gzip, chunked\r\n'],
  ])('%s', async (_, line, errcode, header = '') => {
    const { wechat, gateway } = await echoing();
    const request = `${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${header}\r\n${header && '0\r\n\r\n'}`;
    const heard = await talk(gateway.port, request);
    expect(heard).toMatch(/^HTTP\/1.1 200 OK\r\ncontent-type: application\/json/);
    expect(JSON.parse(heard.slice(heard.indexOf('{')))).toMatchObject({ errcode });
    expect(wechat.requests).toEqual([]);
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'refused', errcode }]);
  });

  it.each([
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello'],
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a line of its own in a header', 'X-A: b\rX-B: c\r\n\r\n'],
  ])('what could be read in two ways: %s', async (_, rest) => {
    const { wechat, gateway } = await echoing();
    const heard = await talk(gateway.port, `POST /x?${QUERY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${rest}`);
    expect(heard).toMatch(/^HTTP\/1.1 400 /);
    expect(wechat.requests).toEqual([]);
  });

  it('a second request in the body of the first', async () => {
    const bytes: string[] = [];
    const wechat = await rawUpstream((socket) =>
      socket.on('data', (chunk) => {
        bytes.push(chunk.toString());
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
      }),
    );
    const gateway = await rig(wechat.url);
    const inner = `GET /y?${QUERY} HTTP/1.1\r\nHost: x\r\n\r\n`;
    await ask(gateway.url, `/x?${QUERY}`, { method: 'POST', body: inner });
    const [head, body] = bytes.join('').split('\r\n\r\n', 2);
    expect(head).toContain(`content-length: ${inner.length}`);
    expect(body).toContain('GET /y?access_token=***');
    expect(wechat.sockets).toHaveLength(1);
  });
});

describe('what comes back', () => {
  it('is the answer with its headers, but for those of this hop', async () => {
    const wechat = await upstream((_, __, response) => {
      response.writeHead(201, 'Made by WeChat', [
        ...['Set-Cookie', 'a=1', 'set-cookie', 'b=2', 'X-Unknown', 'é'],
        ...['Keep-Alive', 'timeout=600', 'X-Hop', '1', 'Connection', 'keep-alive, x-hop', 'Date', 'then'],
        ...['Content-Type', 'text/plain', 'Content-Length', '4'],
      ]);
      response.end(Buffer.from('body'));
    });
    const gateway = await rig(wechat.url);
    const heard = await talk(gateway.port, `GET /x?${QUERY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const head = 'HTTP/1.1 201 Made by WeChat\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Unknown: é\r\nDate: then\r\n';
    expect(heard).toBe(`${head}Content-Type: text/plain\r\ncontent-length: 4\r\nConnection: close\r\n\r\nbody`);
  });

  it('is a redirect, not followed, and without the token', async () => {
    const wechat = await upstream(({ url }, _, response) =>
      response.writeHead(302, { location: `https://elsewhere.example${url}`, 'content-length': 0 }).end(),
    );
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, `/x?${QUERY}`);
    expect(answer.status).toBe(302);
    expect(answer.headers.location).toBe('https://elsewhere.example/x?access_token=***');
  });

  it.each([
    ['a small answer', 10],
    ['one that is passed as it comes', 100_000],
  ])('has no token: %s', async (_, size) => {
    const wechat = await upstream(({ url }, __, response) => {
      response.setHeader('content-type', 'text/plain');
      response.end(`{"errcode":40097,"errmsg":"${url}"}${' '.repeat(size)}`);
    });
    const gateway = await rig(wechat.url);
    const { body } = await ask(gateway.url, `/x?${QUERY}`);
    expect(body.toString()).toMatch(/"\/x\?access_token=\*+"/);
  });

  it.each([
    ['a picture', 'image/jpeg'],
    ['XML', 'application/xml'],
    ['a script', 'application/javascript'],
    ['what says nothing of itself', undefined],
  ])('has no token, whatever it is: %s', async (_, type) => {
    const wechat = await upstream(({ url }, __, response) => {
      if (type) response.setHeader('content-type', type);
      response.end(`<a>${url}</a>`);
    });
    const gateway = await rig(wechat.url);
    const { body } = await ask(gateway.url, `/x?${QUERY}`);
    expect(body.toString()).toBe(`<a>/x?access_token=${'*'.repeat('token-1'.length)}</a>`);
  });

  it.each([
    ['the token', 'a small answer', `/x?${QUERY}`, 'token-1', 10],
    ['the token', 'one that is passed as it comes', `/x?${QUERY}`, 'token-1', 10_000],
    ['the AppSecret', 'a small answer', `/sns/jscode2session?secret=${encodeURIComponent(KEY)}`, SECRET, 10],
  ])('has %s neither in its status line nor in its trailers: %s', async (_, __, path, secret, size) => {
    const wechat = await upstream((___, ____, response) => {
      response.writeHead(200, `not ${secret}`, { trailer: 'x-why', 'content-type': 'application/json' });
      response.write(`{"errcode":0}${' '.repeat(size)}`);
      response.addTrailers({ 'x-why': `for ${secret}` });
      response.end();
    });
    const gateway = await rig(wechat.url);
    const heard = await talk(gateway.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(heard).toMatch(/^HTTP\/1\.1 200 not \*\*\*\r\n/);
    expect(heard).toContain('x-why: for ***\r\n');
    expect(heard).not.toContain(secret);
  });

  it('has the trailers, and a HEAD its length without a body', async () => {
    const wechat = await upstream(({ method }, _, response) => {
      if (method === 'HEAD')
        response.writeHead(200, { 'content-length': 1_234, 'content-type': 'application/json' }).end();
      else {
        response.writeHead(200, { trailer: 'x-sum', 'content-type': 'application/json' });
        response.write('{"errcode":0}');
        response.addTrailers({ 'x-sum': '42' });
        response.end();
      }
    });
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, `/x?${QUERY}`);
    expect([answer.body.toString(), answer.trailers]).toEqual(['{"errcode":0}', { 'x-sum': '42' }]);
    const head = await ask(gateway.url, `/x?${QUERY}`, { method: 'HEAD' });
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, '1234', 0]);
  });
});

describe('a call that carries a secret', () => {
  const KEY_TEXT = encodeURIComponent(KEY);
  const SECRET_TEXT = encodeURIComponent(SECRET);

  it.each([
    ['secret', '/sns/jscode2session', 'secret'],
    ['appsecret', '/sns/oauth2/access_token', 'appsecret'],
  ])('has the AppSecret in the query: %s', async (_, path, name) => {
    const { wechat, gateway } = await echoing();
    await ask(gateway.url, `${path}?appid=${APP}&${name}=${KEY_TEXT}&js_code=%41&${name}=${KEY_TEXT}&x=${KEY_TEXT}`);
    expect(wechat.requests[0]?.url).toBe(`${path}?appid=${APP}&${name}=${SECRET_TEXT}&js_code=%41`);
  });

  it.each([
    ['JSON', 'application/json', JSON.stringify({ appid: APP, appsecret: KEY, n: null })],
    ['JSON that says it is none', 'text/plain', JSON.stringify({ appid: APP, appsecret: KEY })],
    ['a form', 'application/x-www-form-urlencoded', `appid=${APP}&appsecret=${KEY_TEXT}&b=%20`],
  ])('has the AppSecret in %s', async (_, type, body) => {
    const { wechat, gateway } = await echoing();
    const asked = { method: 'POST', headers: { 'content-type': type }, body };
    expect((await ask(gateway.url, '/cgi-bin/clear_quota/v2', asked)).json).toEqual(OK);
    const [got] = wechat.requests;
    const json = body.startsWith('{');
    expect(got?.body.toString()).toBe(
      json ? body.replace(JSON.stringify(KEY), JSON.stringify(SECRET)) : body.replace(KEY_TEXT, SECRET_TEXT),
    );
    expect(got?.headers['content-length']).toBe(String(got?.body.length));
  });

  it('is not cured: its 40001 says that the AppSecret is wrong', async () => {
    const wechat = await upstream((_, __, response) => say(response, { errcode: 40001, errmsg: 'x' }));
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, `/sns/jscode2session?appid=${APP}&secret=${KEY_TEXT}`);
    expect(answer.json.errcode).toBe(40001);
    expect(gateway.reports).toEqual([]);
  });

  it.each([
    ['as it is', 'application/json', 200, (): string => JSON.stringify({ errcode: 41004, errmsg: `bad ${SECRET}` })],
    ['encoded', 'text/html', 500, (): string => `<p>secret=${SECRET_TEXT}</p>`],
    ['in base64', 'image/png', 200, (): string => Buffer.from(`x${SECRET}`).toString('base64')],
  ])('never has it in its answer: %s', async (_, type, status, text) => {
    const wechat = await upstream((__, ___, response) =>
      response.writeHead(status, { 'content-type': type, location: `/?s=${SECRET_TEXT}` }).end(text()),
    );
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, `/sns/jscode2session?appid=${APP}&secret=${KEY_TEXT}`);
    expect(answer.status).toBe(status);
    expect(answer.body.toString()).toContain('***');
    expect(`${answer.body}${answer.headers.location}`).not.toContain('s3cret');
    expect(answer.headers['content-length']).toBe(String(answer.body.length));
  });

  it('is answered -1 where the answer is too long to be looked through, or nobody knows the app', async () => {
    const wechat = await upstream((_, __, response) => response.end('x'.repeat(70_000)));
    const gateway = await rig(wechat.url);
    expect((await ask(gateway.url, `/sns/jscode2session?secret=${KEY_TEXT}`)).json.errcode).toBe(-1);
    const other = await rig(wechat.url, { secretOf: () => undefined });
    expect((await ask(other.url, `/sns/jscode2session?secret=${KEY_TEXT}`)).json.errcode).toBe(40013);
    const long = { method: 'POST', body: 'x'.repeat(70_000) };
    expect((await ask(gateway.url, '/cgi-bin/clear_quota/v2', long)).json.errcode).toBe(-1);
    expect(wechat.requests).toHaveLength(1);
  });
});
