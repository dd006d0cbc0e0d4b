import { createHash } from 'node:crypto';
import { request as requestHttp } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../../src/sandbox/server.ts';
import { FakeClock } from '../support/clock.ts';
import { APP, ask, KEY, rig, SECRET, STANDIN } from './support.ts';

const MIB = 1024 * 1024;
const QUERY = `access_token=${STANDIN}`;

/** A forwarder before a simulated WeChat whose tokens it mints there. */
async function start() {
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock: new FakeClock(),
    random: Math.random,
    apps: [{ appId: APP, secret: SECRET }],
  });
  onTestFinished(() => sandbox.close());
  let token = sandbox.wechat.mintOutside(APP, 'stable').value;
  let flight: Promise<string> | undefined;
  const gateway = await rig(sandbox.url, {
    tokenOf: () => token,
    report(_, refused) {
      if (refused !== token) return Promise.resolve(token);
      flight ??= Promise.resolve().then(() => {
        token = sandbox.wechat.mintOutside(APP, 'stable').value;
        flight = undefined;
        return token;
      });
      return flight;
    },
  });
  const kill = () => sandbox.wechat.kill(APP, { issuer: 'stable', which: 'all' });
  return { sandbox, gateway, kill, tokenNow: () => token };
}

function upload(bytes: Buffer): { method: string; headers: Record<string, string>; body: Buffer } {
  const head =
    '--b\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n';
  const body = Buffer.concat([Buffer.from(head), bytes, Buffer.from('\r\n--b--\r\n')]);
  return { method: 'POST', headers: { 'content-type': 'multipart/form-data; boundary=b' }, body };
}

it('uploads 8 MiB, and downloads them', async () => {
  const { gateway } = await start();
  const bytes = Buffer.alloc(8 * MIB, 'media');
  const { json } = await ask(gateway.url, `/cgi-bin/media/upload?${QUERY}&type=image`, upload(bytes));
  const got = await ask(gateway.url, `/cgi-bin/media/get?${QUERY}&media_id=${String(json['media_id'])}`);
  expect(got.headers['content-type']).toBe('image/jpeg');
  expect(got.body.equals(bytes)).toBe(true);
});

it('downloads 200 MiB, and holds little of it', async () => {
  setFlagsFromString('--expose-gc');
  const gc: () => void = runInNewContext('gc');
  const { gateway } = await start();
  const size = 200 * MIB;
  let most = 0;
  gc();
  const before = process.memoryUsage().arrayBuffers;
  const sum = createHash('sha256');
  const bytes = await new Promise<number>((resolve, reject) => {
    const path = `/cgi-bin/media/get?${QUERY}&media_id=generated-${size}`;
    requestHttp({ port: gateway.port, host: '127.0.0.1', path, agent: false }, (response) => {
      let count = 0;
      response.on('data', (chunk: Buffer) => {
        count += chunk.length;
        sum.update(chunk.subarray(0, 16));
        // What is garbage is not held.
        if (count % (16 * MIB) < chunk.length) {
          gc();
          most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        }
      });
      response.on('end', () => resolve(count)).on('error', reject);
    })
      .on('error', reject)
      .end();
  });
  expect(bytes).toBe(size);
  expect(most).toBeLessThan(96 * MIB);
});

it('cures 200 calls of any kind at once, while the token dies', async () => {
  const { sandbox, gateway, kill, tokenNow } = await start();
  sandbox.wechat.stubs.set('/wxa/anything', '{"errcode":0,"errmsg":"ok","found":true}');
  const first = tokenNow();
  kill();
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      i % 2 === 0
        ? ask(gateway.url, `/wxa/anything?${QUERY}`, { method: 'POST', body: '{}' })
        : ask(gateway.url, `/cgi-bin/media/upload?${QUERY}&type=image`, upload(Buffer.alloc(100_000))),
    ),
  );
  expect(answers.map(({ json }) => json.errcode ?? 0).filter((errcode) => errcode !== 0)).toEqual([]);
  expect(answers.some(({ json }) => json['found'] === true)).toBe(true);
  expect(tokenNow()).not.toBe(first);
  expect(gateway.results.every(({ outcome }) => outcome === 'answered')).toBe(true);
  expect(answers.some(({ body }) => body.includes(first) || body.includes(tokenNow()))).toBe(false);
});

it('signs users in with the AppSecret', async () => {
  const { gateway } = await start();
  const path = `/sns/jscode2session?appid=${APP}&secret=${encodeURIComponent(KEY)}&js_code=code-1`;
  const { json } = await ask(gateway.url, `${path}&grant_type=authorization_code`);
  expect(json).toHaveProperty('openid');
  expect(JSON.stringify(json)).not.toContain(SECRET);
});
