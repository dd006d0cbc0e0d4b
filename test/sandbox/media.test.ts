import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { MediaLibrary } from '../../src/sandbox/media.ts';
import { boundaryOf, fileIn } from '../../src/sandbox/multipart.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { Uploads } from '../../src/sandbox/uploads.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { appId, secret, seeded } from './support.ts';

const MIB = 1024 * 1024;
const DAY = 86_400_000;
const open: Sandbox[] = [];
afterEach(() => Promise.all(open.splice(0).map((sandbox) => sandbox.close())));

async function start() {
  const clock = new FakeClock();
  const listen = { host: '127.0.0.1', port: 0 };
  const sandbox = await startSandbox({ listen, clock, random: seeded(), apps: [{ appId, secret }] });
  open.push(sandbox);
  const grant = JSON.stringify({ grant_type: 'client_credential', appid: appId, secret });
  const response = await fetch(`${sandbox.url}/cgi-bin/stable_token`, { method: 'POST', body: grant });
  const { access_token: token } = (await response.json()) as { access_token: string };
  const post = async (
    body: FormData | ReadableStream,
    { path = '/cgi-bin/media/upload', type = 'image', bearer = token, headers = {} } = {},
  ) => {
    const to = `${sandbox.url}${path}?access_token=${bearer}&type=${type}`;
    const init = { method: 'POST', body, headers, duplex: 'half' } as RequestInit;
    return (await (await fetch(to, init)).json()) as Record<string, unknown>;
  };
  const get = (id: string, init: RequestInit = {}) =>
    fetch(`${sandbox.url}/cgi-bin/media/get?access_token=${token}&media_id=${id}`, init);
  return { ...sandbox, clock, token, post, get };
}

const formOf = (bytes: Uint8Array, name = 'media') => {
  const form = new FormData();
  form.append('note', 'not a file');
  form.append(name, new Blob([bytes as Uint8Array<ArrayBuffer>]), 'a.jpg');
  return form;
};
const bytesOf = (size: number) => Buffer.alloc(size, 'lingpai\r\n--');

describe('an upload', () => {
  it.each([[1], [8 * MIB]])('of %i bytes is downloaded as it was', async (size) => {
    const { post, get, wechat } = await start();
    const bytes = bytesOf(size);
    const said = await post(formOf(bytes));
    expect(said).toEqual({
      type: 'image',
      media_id: expect.stringMatching(/^[\w-]{64}$/),
      created_at: Math.floor(wechat.now() / 1000),
    });
    const response = await get(String(said['media_id']));
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'image/jpeg',
      'content-length': String(size),
      'content-disposition': `attachment; filename="${said['media_id']}"`,
    });
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(wechat.counts(appId)).toMatchObject({ media_upload: 1, media_get: 1 });
  });

  it('is refused without a file, by another type, with a bad token, or of more than 20 MiB', async () => {
    const { post, url, token } = await start();
    const empty = new FormData();
    empty.append('note', 'x');
    expect(await post(empty)).toMatchObject({ errcode: 41005 });
    expect(await post(formOf(bytesOf(0)))).toMatchObject({ errcode: 41005 });
    const plain = await fetch(`${url}/cgi-bin/media/upload?access_token=${token}&type=image`, { method: 'POST' });
    expect(await plain.json()).toMatchObject({ errcode: 41005 });
    expect(await post(formOf(bytesOf(10)), { type: 'pdf' })).toMatchObject({ errcode: 40004 });
    expect(await post(formOf(bytesOf(10)), { bearer: 'x' })).toMatchObject({ errcode: 40014 });
    expect(await post(formOf(bytesOf(19 * MIB)))).toMatchObject({ type: 'image' });
    expect(await post(formOf(bytesOf(20 * MIB)))).toMatchObject({ errcode: 45001 });
    expect(await post(formOf(bytesOf(70 * MIB)))).toMatchObject({ errcode: 45001 });
    await expect(post(formOf(bytesOf(81 * MIB)))).rejects.toThrow();
  });

  it('to a path that is not known is read and forgotten', async () => {
    const { post } = await start();
    expect(await post(formOf(bytesOf(3 * MIB)), { path: '/cgi-bin/material/add_material' })).toEqual({
      errcode: 0,
      errmsg: 'ok',
    });
    expect(await post(formOf(bytesOf(3 * MIB)), { path: '/cgi-bin/material/add_material', bearer: '' })).toMatchObject({
      errcode: 41001,
    });
  });

  it('of which the sender leaves in the middle gives its room back', async () => {
    const { url, token, post } = await start();
    for (let i = 0; i < 20; i++) {
      const abort = new AbortController();
      let pulls = 0;
      const body = new ReadableStream({
        pull(controller) {
          if (++pulls > 18) abort.abort();
          else controller.enqueue(new Uint8Array(MIB));
        },
      });
      const headers = { 'content-type': 'multipart/form-data; boundary=b' };
      const to = `${url}/cgi-bin/media/upload?access_token=${token}&type=image`;
      await fetch(to, { method: 'POST', body, headers, duplex: 'half', signal: abort.signal } as RequestInit).catch(
        () => {},
      );
    }
    expect(await post(formOf(bytesOf(MIB)))).toMatchObject({ type: 'image' });
  });
});

describe('a download', () => {
  it('40007 for what this app did not upload', async () => {
    const { get, post, url, wechat } = await start();
    expect(await (await get('nothing')).json()).toMatchObject({ errcode: 40007 });
    expect(await (await get('')).json()).toMatchObject({ errcode: 40007 });
    expect(await (await get('generated-4294967297')).json()).toMatchObject({ errcode: 40007 });
    const { media_id: id } = await post(formOf(bytesOf(5)));
    expect((await get(String(id))).headers.get('content-length')).toBe('5');
    wechat.setApp({ appId: 'wxother', secret });
    const grant = `grant_type=client_credential&appid=wxother&secret=${encodeURIComponent(secret)}`;
    const { access_token: other } = (await (await fetch(`${url}/cgi-bin/token?${grant}`)).json()) as Record<
      string,
      string
    >;
    const stranger = await fetch(`${url}/cgi-bin/media/get?access_token=${other}&media_id=${id}`);
    expect(await stranger.json()).toMatchObject({ errcode: 40007 });
  });

  it('of any size is made up, the same each time', async () => {
    const { get } = await start();
    const size = 5 * MIB + 7;
    const digests = await Promise.all(
      [1, 2].map(async () => {
        const bytes = Buffer.from(await (await get(`generated-${size}`)).arrayBuffer());
        expect(bytes.length).toBe(size);
        return createHash('sha256').update(bytes).digest('hex');
      }),
    );
    expect(digests[0]).toBe(digests[1]);
    expect((await (await get('generated-0')).arrayBuffer()).byteLength).toBe(0);
  });

  it('that is not read to its end takes no memory and ends', async () => {
    const { get, close } = await start();
    const before = process.memoryUsage().rss;
    const response = await get('generated-4294967296');
    const reader = response.body?.getReader();
    await reader?.read();
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MIB);
    await reader?.cancel();
    await close();
  });

  it('meets faults as every call does', async () => {
    const { get, faults } = await start();
    const inject = (effect: Parameters<typeof faults.inject>[0]['effect']) =>
      faults.inject({ effect, calls: ['media_get'], count: 1 });
    inject({ kind: 'errcode', errcode: 45009 });
    expect(await (await get('generated-10')).json()).toMatchObject({ errcode: 45009 });
    inject({ kind: 'truncated' });
    expect((await (await get('generated-11')).arrayBuffer()).byteLength).toBe(5);
    inject({ kind: 'html', status: 502, takesEffect: true });
    expect((await get('generated-11')).status).toBe(502);
    inject({ kind: 'reset', takesEffect: true });
    await expect(get('generated-11')).rejects.toThrow();
  });
});

it('the newest 64 MiB are kept, for three days', () => {
  const library = new MediaLibrary();
  for (let i = 0; i < 5; i++) library.add('a', `m${i}`, 'image', Buffer.alloc(16 * MIB), 0);
  expect(['m0', 'm1', 'm4'].map((id) => library.get('a', id, 0)?.size)).toEqual([undefined, 16 * MIB, 16 * MIB]);
  expect([library.get('a', 'm4', 3 * DAY - 1)?.size, library.get('a', 'm4', 3 * DAY)]).toEqual([16 * MIB, undefined]);
});

it('uploads that are on their way hold at most 320 MiB, which those that end or leave give back', async () => {
  const uploads = new Uploads();
  const chunk = Buffer.alloc(MIB);
  const told: (number | 'whole')[] = [];
  const use = (whole: Buffer | number) => void told.push(typeof whole === 'number' ? whole : 'whole');
  /** Of `size` MiB, whose last comes when `end` resolves. */
  async function* upload(size: number, end: Promise<void>): AsyncGenerator<Buffer> {
    for (let i = 0; i < size; i++) yield chunk;
    await end;
  }
  const gates = Array.from({ length: 16 }, () => Promise.withResolvers<void>());
  const held = gates.map(({ promise }) => uploads.take(upload(20, promise), use).catch(() => {}));
  await settle();
  await uploads.take(upload(1, Promise.resolve()), use);
  expect(told).toEqual([-1]);
  gates[0]?.resolve();
  gates[1]?.reject(new Error('left'));
  await Promise.all(held.slice(0, 2));
  await uploads.take(upload(20, Promise.resolve()), use);
  await uploads.take(upload(20, Promise.resolve()), use);
  expect(told).toEqual([-1, 'whole', 'whole', 'whole']);
  for (const gate of gates) gate.resolve();
  await Promise.all(held);
});

describe('multipart', () => {
  it.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['Multipart/Form-Data; charset=utf-8; boundary="a b"; x=y', 'a b'],
    ['application/json', undefined],
    ['multipart/form-data', undefined],
    [undefined, undefined],
  ])('%s has the boundary %s', (type, boundary) => {
    expect(boundaryOf(type)).toBe(boundary);
  });

  const part = (head: string, content: string) =>
    `--b\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
  it.each([
    [`${part('name="x"', 'no')}${part('name="media"; filename="a"', 'yes')}--b--\r\n`, 'yes'],
    [`${part('name="media"', 'yes')}--b--\r\n`, 'yes'],
    [`${part('name="buffer"; filename="a"', 'a\r\n--c\r\n\r\n')}--b--`, 'a\r\n--c\r\n\r\n'],
    [`${part('name="x"', 'filename=')}--b--\r\n`, undefined],
    ['--b\r\nContent-Disposition: form-data; name="media"\r\n\r\nno end', undefined],
    ['', undefined],
    ['--b--', undefined],
    [`${part('name="x"', 'no').repeat(100)}${part('name="media"', 'late')}--b--`, undefined],
  ])('%j has the file %j', (body, file) => {
    expect(fileIn(Buffer.from(body), 'b')?.toString()).toBe(file);
  });
});
