import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ask, rawUpstream, rig, STANDIN, say, upstream } from './support.ts';

const PATH = `/cgi-bin/message/template/send?access_token=${STANDIN}&a=1`;

function tokenIn(url: string): string {
  return new URL(url, 'http://here').searchParams.get('access_token') ?? '';
}

/** Refuses `token-1` with this errcode, and says yes to others. */
function refusing(errcode = 40001) {
  return upstream(({ url, body }, _, response) =>
    tokenIn(url) === 'token-1'
      ? say(response, { errcode, errmsg: 'invalid credential rid: 1-2-3' })
      : say(response, { errcode: 0, errmsg: 'ok', length: body.length }),
  );
}

describe('a token that WeChat refuses', () => {
  it.each([40001, 40014, 42001])('is cured by one repeat: %i', async (errcode) => {
    const wechat = await refusing(errcode);
    const gateway = await rig(wechat.url);
    const { json } = await ask(gateway.url, PATH, { method: 'POST', body: '{"touser":"x"}' });
    expect(json).toEqual({ errcode: 0, errmsg: 'ok', length: 14 });
    expect(wechat.requests.map(({ url, body }) => [url, body.toString()])).toEqual([
      ['/cgi-bin/message/template/send?access_token=token-1&a=1', '{"touser":"x"}'],
      ['/cgi-bin/message/template/send?access_token=token-2&a=1', '{"touser":"x"}'],
    ]);
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'answered', errcode: 0, cured: true, status: 200 }]);
    expect(gateway.forwarder.open).toBe(0);
  });

  it('is cured for 1,000 calls at once by one mint: none is lost, none repeated twice', async () => {
    const seen = new Map<string, number>();
    const wechat = await upstream(({ url }, _, response) => {
      const id = new URL(url, 'http://here').searchParams.get('id') ?? '';
      seen.set(id, (seen.get(id) ?? 0) + 1);
      say(response, tokenIn(url) === 'token-1' ? { errcode: 40001, errmsg: 'no' } : { errcode: 0, id });
    });
    const gateway = await rig(wechat.url);
    const ids = Array.from({ length: 1_000 }, (_, i) => `${i}`);
    const answers = await Promise.all(
      ids.map((id) => ask(gateway.url, `/cgi-bin/x?access_token=${STANDIN}&id=${id}`, { method: 'POST', body: id })),
    );
    expect(answers.map(({ json }) => json)).toEqual(ids.map((id) => ({ errcode: 0, id })));
    expect(gateway.mints).toEqual(['token-2']);
    expect(Math.max(...seen.values())).toBe(2);
    expect(seen.size).toBe(1_000);
    await gateway.ended(1_000);
    expect([gateway.forwarder.open, gateway.forwarder.keptBytes]).toEqual([0, 0]);
  });

  it('is cured by the token of the moment, where it was replaced in mid-flight', async () => {
    const wechat = await upstream(({ url }, _, response) => {
      gateway.token = 'token-9';
      say(response, tokenIn(url) === 'token-9' ? { errcode: 0 } : { errcode: 42001 });
    });
    const gateway = await rig(wechat.url);
    expect((await ask(gateway.url, PATH)).json).toEqual({ errcode: 0 });
    expect(gateway.mints).toEqual([]);
  });

  it('is repeated once, however often WeChat refuses, and then reported', async () => {
    const wechat = await upstream((_, __, response) => say(response, { errcode: 40001, errmsg: 'no' }));
    const gateway = await rig(wechat.url);
    expect((await ask(gateway.url, PATH)).json).toEqual({ errcode: 40001, errmsg: 'no' });
    expect(wechat.requests).toHaveLength(2);
    expect(gateway.reports).toEqual(['token-1', 'token-2']);
    expect(await gateway.ended(1)).toMatchObject([{ errcode: 40001, cured: false }]);
  });

  it('passes the refusal where WeChat stands by the token', async () => {
    const wechat = await refusing();
    const gateway = await rig(wechat.url, { report: async () => undefined });
    expect((await ask(gateway.url, PATH)).json.errcode).toBe(40001);
    expect(wechat.requests).toHaveLength(1);
  });

  it('says -1 where no other can be had, for a refresh may still cure it', async () => {
    const wechat = await refusing();
    const gateway = await rig(wechat.url, { report: () => Promise.reject(new Error('secret details')) });
    const { json } = await ask(gateway.url, PATH);
    expect(json.errcode).toBe(-1);
    expect(json.errmsg).toContain('(40001)');
    expect(json.errmsg).not.toContain('secret details');
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'refused', errcode: -1 }]);
  });

  it('waits for another no longer than it may', async () => {
    const wechat = await refusing();
    const reported = Promise.withResolvers<void>();
    const gateway = await rig(wechat.url, {
      report: () => {
        reported.resolve();
        return new Promise(() => {});
      },
    });
    const answer = ask(gateway.url, PATH);
    await reported.promise;
    await gateway.clock.advance(5_000);
    expect((await answer).json.errcode).toBe(-1);
  });

  it.each([
    ['plain text', { 'content-type': 'text/plain' }],
    ['no type', {}],
    ['chunks', { 'content-type': 'application/json; encoding=utf-8', 'transfer-encoding': 'chunked' }],
    ['a type of its own', { 'content-type': 'application/vnd.wechat+json' }],
  ])('is seen in an answer of %s', async (_, headers) => {
    const wechat = await upstream(({ url }, __, response) => {
      response.writeHead(200, headers as Record<string, string>);
      response.end(tokenIn(url) === 'token-1' ? '\n{"errcode":40001,"errmsg":"line\nbreak"}' : '{"errcode":0}');
    });
    const gateway = await rig(wechat.url);
    expect((await ask(gateway.url, PATH)).json).toEqual({ errcode: 0 });
  });

  it('is seen in an answer that was compressed unasked', async () => {
    const wechat = await upstream(({ url }, _, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
      response.end(gzipSync(tokenIn(url) === 'token-1' ? '{"errcode":40001}' : '{"errcode":0}'));
    });
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, PATH, { headers: { 'accept-encoding': 'gzip, br' } });
    expect(answer.headers['content-encoding']).toBe('gzip');
    expect(answer.body).toEqual(gzipSync('{"errcode":0}'));
    expect(wechat.requests[0]?.headers['accept-encoding']).toBe('identity');
  });

  it.each([
    ['an HTTP status', 500, 'application/json', '{"errcode":40001}'],
    ['another type', 200, 'image/jpeg', '{"errcode":40001}'],
    ['a longer answer', 200, 'application/json', `{"errcode":40001,"long":"${'x'.repeat(8_000)}"}`],
    ['an errcode within', 200, 'application/json', '{"errcode":0,"list":[{"errcode":40001}]}'],
    ['an errcode as text', 200, 'application/json', '{"errcode":"40001"}'],
  ])('is not seen in %s', async (_, status, type, body) => {
    const wechat = await upstream((__, ___, response) =>
      response.writeHead(status, { 'content-type': type }).end(body),
    );
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, PATH);
    expect([answer.status, answer.body.toString()]).toEqual([status, body]);
    expect(gateway.reports).toEqual([]);
    expect(wechat.requests).toHaveLength(1);
  });
});

describe('a body that is longer than what is read at once', () => {
  const MIB = 1024 * 1024;

  it.each([
    ['in full', { 'content-length': String(MIB) }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('is repeated to 1 MiB: %s', async (_, headers) => {
    const wechat = await refusing();
    const gateway = await rig(wechat.url);
    const body = Buffer.alloc(MIB, 'abcdefghij');
    expect((await ask(gateway.url, PATH, { method: 'POST', headers, body })).json).toMatchObject({ length: MIB });
    expect(wechat.requests.map(({ body: got }) => got.equals(body))).toEqual([true, true]);
    expect(wechat.requests.map(({ headers: got }) => got['content-length'])).toEqual(
      'content-length' in headers ? [String(MIB), String(MIB)] : [undefined, undefined],
    );
    await gateway.ended(1);
    expect(gateway.forwarder.keptBytes).toBe(0);
  });

  it('is not repeated beyond, and its refusal passed: the next call finds the newer token', async () => {
    const wechat = await refusing();
    const gateway = await rig(wechat.url);
    const { json } = await ask(gateway.url, PATH, { method: 'POST', body: Buffer.alloc(MIB + 1) });
    expect(json).toEqual({ errcode: 40001, errmsg: 'invalid credential rid: 1-2-3' });
    expect(wechat.requests).toHaveLength(1);
    expect(gateway.mints).toEqual(['token-2']);
    expect((await ask(gateway.url, PATH, { method: 'POST', body: Buffer.alloc(MIB + 1) })).json.errcode).toBe(0);
    await gateway.ended(2);
    expect(gateway.forwarder.keptBytes).toBe(0);
  });

  it('is not repeated where all calls together keep as much as they may', async () => {
    const wechat = await refusing();
    const gateway = await rig(wechat.url, { limits: { keptBytes: 100_000 } });
    const { json } = await ask(gateway.url, PATH, { method: 'POST', body: Buffer.alloc(200_000) });
    expect(json.errcode).toBe(40001);
    await gateway.ended(1);
    expect(gateway.forwarder.keptBytes).toBe(0);
  });

  it('is repeated whole where WeChat refused before it was through', async () => {
    let calls = 0;
    const whole = Promise.withResolvers<number>();
    const wechat = await rawUpstream((socket) => {
      const isFirst = ++calls === 1;
      let bytes = 0;
      socket.on('data', (chunk) => {
        bytes += chunk.length;
        if (isFirst) {
          socket.pause();
          socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 17\r\n\r\n{"errcode":40001}');
        } else if (bytes > 500_000) {
          whole.resolve(bytes);
          socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\n{"errcode":0}');
        }
      });
    });
    const gateway = await rig(wechat.url);
    const body = Buffer.alloc(500_000, 'x');
    expect((await ask(gateway.url, PATH, { method: 'POST', body })).json).toEqual({ errcode: 0 });
    expect(await whole.promise).toBeGreaterThan(500_000);
    expect(wechat.sockets).toHaveLength(2);
  });
});
