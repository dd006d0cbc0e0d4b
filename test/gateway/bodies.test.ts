import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { nobody } from '../wechat/support.ts';
import { ask, rawUpstream, rig, STANDIN, say, talk, upstream } from './support.ts';

const PATH = `/cgi-bin/media/upload?access_token=${STANDIN}`;
const MIB = 1024 * 1024;
const POST = `POST ${PATH} HTTP/1.1\r\nHost: x\r\n`;

/** What a socket hears, and its end. */
function hearing(port: number) {
  const socket = connect(port, '127.0.0.1');
  const heard = { text: '', bytes: 0, isClosed: false };
  socket.on('data', (chunk) => {
    heard.bytes += chunk.length;
    if (heard.text.length < MIB) heard.text += chunk.toString('latin1');
  });
  socket
    .on('error', () => {})
    .on('close', () => {
      heard.isClosed = true;
    });
  return { socket, heard };
}

const soon = (is: () => boolean, what: string) => until(10_000, () => (is() ? undefined : what));

/** Waits until a count has stopped to grow, above 0, for ten looks. */
async function still(count: () => number): Promise<void> {
  let before = 0;
  let looks = 0;
  await until(10_000, () => {
    looks = before > 0 && before === count() ? looks + 1 : 0;
    before = count();
    return looks > 10 ? undefined : 'it still grows';
  });
}

describe('a request', () => {
  it('is asked for where the client waits for a 100, and passed whole', async () => {
    const wechat = await upstream(({ body, headers }, _, response) =>
      say(response, { errcode: 0, length: body.length, expects: headers.expect ?? null }),
    );
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.write(`${POST}Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n`);
    await soon(() => heard.text.includes('100 Continue'), 'a 100');
    expect(wechat.requests).toEqual([]);
    socket.write('hello');
    await once(socket, 'close');
    expect(heard.text).toContain('{"errcode":0,"length":5,"expects":null}');
  });

  it('of 20 MiB passes as it comes, and is not kept', async () => {
    const wechat = await upstream(({ body }, _, response) => say(response, { errcode: 0, length: body.length }));
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, PATH, { method: 'POST', body: Buffer.alloc(20 * MIB) });
    expect(answer.json).toEqual({ errcode: 0, length: 20 * MIB });
    await gateway.ended(1);
    expect(gateway.forwarder.keptBytes).toBe(0);
  });

  it('passes no faster than WeChat takes it', async () => {
    const wechat = await rawUpstream((socket) => socket.pause());
    const gateway = await rig(wechat.url);
    const { socket } = hearing(gateway.port);
    socket.write(`${POST}Content-Length: ${400 * MIB}\r\n\r\n`);
    let sent = 0;
    const piece = Buffer.alloc(MIB);
    const more = (): void => {
      while (sent < 400 * MIB) {
        sent += piece.length;
        if (!socket.write(piece)) return;
      }
    };
    socket.on('drain', more);
    more();
    await soon(() => sent > 2 * MIB, 'some that was taken');
    await still(() => sent);
    expect(sent).toBeLessThan(40 * MIB);
    await gateway.clock.advance(30_000);
    await soon(() => gateway.results.length === 1, 'an end');
    expect(gateway.results).toMatchObject([{ outcome: 'refused', errcode: -1 }]);
    expect(gateway.results[0]?.reason).toContain('took nothing of the request');
    socket.destroy();
  });

  it.each([
    ['small', 'Content-Length: 10\r\n\r\nabc'],
    ['streamed', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
  ])('that the client does not send is not waited for: %s', async (_, rest) => {
    const wechat = await rawUpstream((socket) => socket.resume());
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.write(`${POST}${rest}`);
    await soon(() => gateway.forwarder.open === 1, 'a call');
    if (_ === 'streamed') await soon(() => wechat.sockets.length === 1, 'a connection');
    await gateway.clock.advance(30_000);
    await soon(() => heard.isClosed, 'an end');
    expect(heard.text).toBe('');
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'broken', status: 0 }]);
    expect(gateway.forwarder.open).toBe(0);
    await soon(() => wechat.sockets.every((other) => other.destroyed), 'an end of the call to WeChat');
    expect(gateway.clock.pending).toBe(0);
  });

  it('is given up with the client', async () => {
    const got = Promise.withResolvers<void>();
    const wechat = await rawUpstream((socket) => socket.once('data', () => got.resolve()));
    const gateway = await rig(wechat.url);
    const { socket } = hearing(gateway.port);
    socket.write(`${POST}Content-Length: ${MIB}\r\n\r\nabc`);
    await got.promise;
    socket.destroy();
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'left', status: 0 }]);
    await soon(() => wechat.sockets[0]?.destroyed === true, 'an end of the call to WeChat');
    expect([gateway.forwarder.open, gateway.forwarder.keptBytes, gateway.clock.pending]).toEqual([0, 0, 0]);
  });

  it('waits for its token no longer than its client waits', async () => {
    const wechat = await upstream((_, __, response) => say(response, { errcode: 0 }));
    let signal: AbortSignal | undefined;
    const gateway = await rig(wechat.url, {
      tokenOf: (_, ask) => {
        signal = ask();
        return new Promise(() => {});
      },
    });
    const { socket } = hearing(gateway.port);
    socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await soon(() => signal !== undefined, 'a wait');
    socket.destroy();
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'left' }]);
    expect(signal?.aborted).toBe(true);
    expect(wechat.requests).toEqual([]);
  });
});

describe('an early answer', () => {
  const EARLY = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"errcode":40097}';

  it.each([
    ['and reads on', (): void => {}],
    ['and reads no more', (socket: { pause(): void }) => void socket.pause()],
    ['and ends the connection', (socket: { end(): void }) => void socket.end()],
    ['and breaks the connection', (socket: { destroySoon(): void }) => void socket.destroySoon()],
  ])(
    'is passed, the rest of the request taken, and the connection to WeChat not used again: WeChat answers %s',
    async (_, then) => {
      const wechat = await rawUpstream((socket) =>
        socket.once('data', () => {
          socket.write(EARLY);
          then(socket);
        }),
      );
      const gateway = await rig(wechat.url);
      const { socket, heard } = hearing(gateway.port);
      socket.write(`${POST}Content-Length: ${8 * MIB}\r\n\r\n`);
      socket.write(Buffer.alloc(100_000));
      await soon(() => heard.text.includes('40097'), 'the answer');
      expect(await gateway.ended(1)).toMatchObject([{ outcome: 'answered', errcode: 40097 }]);
      // The client sends on, as most do, and asks again on the same connection.
      socket.write(Buffer.alloc(8 * MIB - 100_000));
      socket.write(`${POST}Content-Length: 1\r\nConnection: close\r\n\r\nx`);
      await soon(() => heard.isClosed, 'an end');
      expect(heard.text.match(/HTTP\/1.1 200 OK/g)).toHaveLength(2);
      expect(wechat.sockets).toHaveLength(2);
      expect(gateway.clock.pending).toBe(0);
    },
  );

  it('is not lost to a client that wants its connection closed', async () => {
    const wechat = await rawUpstream((socket) => socket.once('data', () => socket.write(EARLY)));
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.write(`${POST}Content-Length: ${8 * MIB}\r\nConnection: close\r\n\r\n`);
    socket.write(Buffer.alloc(8 * MIB - 1));
    await gateway.ended(1);
    await soon(() => heard.text.includes('40097'), 'the answer');
    expect(heard.isClosed).toBe(false);
    socket.write('x');
    await soon(() => heard.isClosed, 'an end');
    expect(gateway.clock.pending).toBe(0);
  });

  it('ends the connection of a client that neither sends on nor goes', async () => {
    const wechat = await rawUpstream((socket) => socket.once('data', () => socket.write(EARLY)));
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.write(`${POST}Content-Length: ${8 * MIB}\r\n\r\nabc`);
    await soon(() => heard.text.includes('40097'), 'the answer');
    await gateway.clock.advance(30_000);
    await soon(() => heard.isClosed, 'an end');
  });
});

describe('an answer', () => {
  it('of any size passes no faster than the client reads', async () => {
    let sent = 0;
    const wechat = await upstream((_, __, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': 400 * MIB });
      const piece = Buffer.alloc(MIB);
      const more = (): void => {
        while (sent < 400 * MIB) {
          sent += piece.length;
          if (!response.write(piece)) return;
        }
      };
      response.on('drain', more);
      more();
    });
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.pause();
    socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    await still(() => sent);
    expect(sent).toBeLessThan(40 * MIB);
    socket.resume();
    await soon(() => heard.bytes > 100 * MIB, 'more');
    expect(sent - heard.bytes).toBeLessThan(40 * MIB);
    socket.pause();
    await still(() => sent);
    await gateway.clock.advance(60_000);
    await gateway.ended(1);
    expect(gateway.results).toMatchObject([{ outcome: 'broken', status: 200 }]);
    expect(gateway.results[0]?.reason).toContain('client took nothing');
  });

  it.each([
    ['a length', `content-length: ${MIB}\r\n\r\n${'x'.repeat(10_000)}`],
    ['chunks', `transfer-encoding: chunked\r\n\r\n2710\r\n${'x'.repeat(10_000)}\r\n`],
  ])('that breaks off breaks the connection of the client: %s', async (_, rest) => {
    const wechat = await rawUpstream((socket) =>
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n${rest}`, () => socket.resetAndDestroy())),
    );
    const gateway = await rig(wechat.url);
    await expect(ask(gateway.url, PATH)).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'broken', status: 200 }]);
  });

  it('that stands still is given up, and the connection of the client broken', async () => {
    const wechat = await rawUpstream((socket) =>
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${MIB}\r\n\r\n${'x'.repeat(10_000)}`)),
    );
    const gateway = await rig(wechat.url);
    const { socket, heard } = hearing(gateway.port);
    socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await soon(() => heard.bytes > 10_000, 'the first of it');
    await gateway.clock.advance(30_000);
    await soon(() => heard.isClosed, 'an end');
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'broken' }]);
    expect(wechat.sockets[0]?.destroyed || gateway.forwarder.open === 0).toBe(true);
  });

  it.each([
    ['breaks off within the little that is held back', 'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"errc'],
    ['is none of HTTP', 'SSH-2.0-hello\r\n'],
    ['is no answer', ''],
  ])('that %s is -1 to the client', async (_, bytes) => {
    const wechat = await rawUpstream((socket) => socket.once('data', () => socket.end(bytes)));
    const gateway = await rig(wechat.url);
    const { json, status, headers } = await ask(gateway.url, PATH);
    expect([status, json.errcode, headers['content-type']]).toEqual([200, -1, 'application/json; charset=utf-8']);
    expect(json.errmsg).toMatch(/WeChat/);
    expect(json.errmsg).not.toContain('token-1');
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'refused', errcode: -1 }]);
  });

  it('that does not come is -1, and says that WeChat may have done it', async () => {
    const got = Promise.withResolvers<void>();
    const wechat = await rawUpstream((socket) => socket.once('data', () => got.resolve()));
    const gateway = await rig(wechat.url);
    const answer = ask(gateway.url, PATH, { method: 'POST', body: '{}' });
    await got.promise;
    await gateway.clock.advance(10_000);
    expect((await answer).json).toEqual({
      errcode: -1,
      errmsg: 'WeChat did not answer within 10 s; it may have done what was asked.',
    });
    await soon(() => wechat.sockets[0]?.destroyed === true, 'an end of the call to WeChat');
  });

  it('is a status where a HEAD cannot be told -1, and -1 where nobody listens', async () => {
    const gateway = await rig(await nobody());
    expect((await ask(gateway.url, PATH, { method: 'HEAD' })).status).toBe(502);
    expect((await ask(gateway.url, PATH)).json).toMatchObject({ errcode: -1 });
    expect((await ask(gateway.url, PATH, { method: 'POST', body: Buffer.alloc(MIB) })).json).toMatchObject({
      errcode: -1,
    });
    await gateway.ended(3);
    expect([gateway.forwarder.open, gateway.forwarder.keptBytes]).toEqual([0, 0]);
    await soon(() => gateway.clock.pending === 0, 'an end of what is waited for');
  });

  it('that the client does not wait for ends the call to WeChat', async () => {
    const wechat = await rawUpstream((socket) =>
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${MIB}\r\n\r\n${'x'.repeat(10_000)}`)),
    );
    const gateway = await rig(wechat.url);
    await talk(gateway.port, `GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`, /xxx/);
    await soon(() => wechat.sockets[0]?.destroyed === true, 'an end of the call to WeChat');
    expect(await gateway.ended(1)).toMatchObject([{ outcome: 'left', status: 200 }]);
  });

  it('after a 103 is the answer', async () => {
    const wechat = await rawUpstream((socket) =>
      socket.once('data', () =>
        socket.write('HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n'),
      ),
    );
    const gateway = await rig(wechat.url);
    const answer = await ask(gateway.url, PATH);
    expect([answer.status, answer.headers['link']]).toEqual([204, undefined]);
  });

  it('to HTTP/1.0 is ended by the connection', async () => {
    const wechat = await upstream((_, __, response) => response.end(Buffer.alloc(10_000, 'x')));
    const gateway = await rig(wechat.url);
    const heard = await talk(gateway.port, `GET ${PATH} HTTP/1.0\r\n\r\n`);
    expect(heard).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(heard).not.toMatch(/transfer-encoding/i);
    expect(heard.endsWith('x'.repeat(10_000))).toBe(true);
  });
});

describe('calls at once', () => {
  it.each([
    ['in all', { calls: 2 }],
    ['of one app', { callsPerApp: 2 }],
  ])('are bounded, and what is beyond is -1: %s', async (_, limits) => {
    const held: (() => void)[] = [];
    const wechat = await upstream((__, ___, response) => held.push(() => say(response, { errcode: 0 })));
    const gateway = await rig(wechat.url, { limits });
    const first = [ask(gateway.url, PATH), ask(gateway.url, PATH)];
    await soon(() => held.length === 2, 'two calls');
    expect((await ask(gateway.url, PATH)).json.errcode).toBe(-1);
    for (const answer of held.splice(0)) answer();
    expect((await Promise.all(first)).map(({ json }) => json.errcode)).toEqual([0, 0]);
    const next = ask(gateway.url, PATH);
    await soon(() => held.length === 1, 'a call');
    held[0]?.();
    expect((await next).json.errcode).toBe(0);
  });
});
