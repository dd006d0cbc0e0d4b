/**
 * Tries the adapters with the real SDKs, which it installs by the lock files of test/sdk, against a broker and a simulated WeChat:
 * `npm run adapters`. No call for a token reaches WeChat from the SDK, a dead token is cured at the first call, and ten callers with one dead
 * token make one ForceRefresh.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../../../src/ops/clock.ts';
import { systemRandom } from '../../../../src/ops/random.ts';
import { startSandbox } from '../../../../src/sandbox/server.ts';
import { Child } from '../../../../test/support/child.ts';
import { root } from '../../../../test/support/foreign.ts';
import { connect, type Source } from '../../src/index.ts';
import { withLingpai as coWechatApi } from '../src/co-wechat-api.ts';
import { useLingpai } from '../src/node-easywechat.ts';
import { withLingpai as wechatApi } from '../src/wechat-api.ts';

const appId = 'wx00sdk00000000001';

/** Sends a message to somebody. */
type Send = (to: string) => Promise<unknown>;

// biome-ignore lint/suspicious/noExplicitAny: the SDKs have no types, or their own
type Sdk = any;

const content = { first: { value: 'hello' } };

/** Each SDK by its name: what it is made of, with its calls led to `wechat`, a URL. */
const sdks: Readonly<Record<string, (sdk: Sdk, source: Source, wechat: string) => Send>> = {
  'co-wechat-api': (Api, source, wechat) => {
    class Local extends Api {
      request(url: string, ...rest: unknown[]) {
        return super.request(url.replace(/^https?:\/\/(file\.)?api\.weixin\.qq\.com/, wechat), ...rest);
      }
    }
    const api: Sdk = new (coWechatApi(Local as Sdk))(source);
    return (to) => api.sendTemplate(to, 'T1', '', '', content);
  },
  'wechat-api': (Api, source, wechat) => {
    const api: Sdk = new (wechatApi(Api as Sdk))(source);
    api.endpoint = wechat;
    return (to) => promisify(api.sendTemplate.bind(api))(to, 'T1', '', content);
  },
  'node-easywechat': ({ OfficialAccount }, source, wechat) => {
    const config = { app_id: appId, secret: 'none', http: { baseURL: wechat } };
    const client = useLingpai<Sdk>(new OfficialAccount(config), source).getClient();
    const path = 'cgi-bin/message/template/send';
    return async (touser) => (await client.postJson(path, { touser, template_id: 'T1', data: content })).toObject();
  },
};

for (const name of Object.keys(sdks)) {
  const folder = join(root, 'test/sdk', name);
  execFileSync('npm', ['ci', '--ignore-scripts', '--silent'], { cwd: folder, stdio: 'inherit' });
  const sdk = createRequire(join(folder, 'package.json'))(name);
  for (const errcode of [40001, 40014, 42001]) await play(name, sdk, errcode);
  process.stdout.write(
    `${name}: no token call, a dead token cured at the first call, one ForceRefresh for ten callers\n`,
  );
}
process.stdout.write(`${Object.keys(sdks).length} passed, 0 failed\n`);

/** Plays one SDK, with WeChat refusing a dead token by this errcode. Rejects with the first thing that is wrong. */
async function play(name: string, sdk: Sdk, errcode: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'lingpai-adapters-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const secret = randomBytes(16).toString('hex');
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock: systemClock,
    random: systemRandom,
    apps: [{ appId, secret, unlimitedConsent: true }],
  });
  stack.defer(() => sandbox.close());
  const { asked, url, close } = await before(sandbox.url, errcode);
  stack.defer(close);
  const config = {
    grpc: { listen: '127.0.0.1:0' },
    http: { listen: '127.0.0.1:0' },
    store: { url: 'sqlite:lingpai.db' },
    upstream: { base_url: sandbox.url },
    refresh: { cooldown: '0s', probe_interval: '0s' },
    apps: [{ app_id: appId, secret, issuer: 'classic' }],
  };
  await writeFile(join(folder, 'lingpai.yaml'), JSON.stringify(config)); // JSON is YAML
  const command = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    join(root, 'src/lingpai.js'),
    'serve',
  ] as const;
  const broker = stack.use(new Child({ name: 'the broker', command: [...command], cwd: folder }));
  const { grpc } = await broker.next('"ready"', ({ msg }) => msg === 'ready');
  const client = stack.use(await connect(String(grpc), { apps: [appId] }));
  const source = client.app(appId);
  const make = sdks[name];
  assert.ok(make);
  const send = make(sdk, source, url);

  await send('oUser1');
  assert.equal(sandbox.wechat.counts(appId).delivered, 1, 'a message arrived');

  const { mints } = sandbox.wechat.counts(appId);
  sandbox.wechat.kill(appId, { issuer: 'classic', which: 'current', stuck: false });
  await Promise.all(Array.from({ length: 10 }, (_, i) => send(`oUser${i}`)));
  assert.equal(sandbox.wechat.counts(appId).delivered, 11, 'each of ten calls with a dead token was cured');
  assert.equal(client.stats().reports, 1, 'one ForceRefresh');
  assert.equal(sandbox.wechat.counts(appId).mints - mints, 1, 'one new token');
  await send('oUser1');
  assert.equal(client.stats().reports, 1, 'the new token is used');

  assert.deepEqual(
    asked.filter((path) => /cgi-bin\/(stable_)?token/.test(path)),
    [],
    'the SDK asked WeChat for no token',
  );
  assert.equal(asked.length, 22, 'a call, ten that were repeated, and a call');
}

/** Stands before the simulated WeChat, which refuses a dead token by 40001 alone, and has it refuse by another errcode. */
async function before(wechat: string, errcode: number) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    asked.push(request.url ?? '');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = { 'content-type': request.headers['content-type'] ?? 'application/json' };
    const call = { method: 'POST', headers, body: Buffer.concat(chunks) };
    const answer = await fetch(wechat + request.url, call).catch(() => undefined);
    if (!answer) return response.destroy(); // it is over
    response.setHeader('content-type', answer.headers.get('content-type') ?? 'application/json');
    response.end((await answer.text()).replace('"errcode":40001', `"errcode":${errcode}`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
  };
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}
