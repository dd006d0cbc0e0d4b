import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { load } from '../../src/app/load.ts';
import { type Running, runBroker } from '../../src/app/run.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { createLogger } from '../../src/ops/log.ts';
import { systemRandom } from '../../src/ops/random.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { Canaries } from '../support/canaries.ts';
import { type Answered, ask, fetchStable, fetchToken } from '../support/gateway.ts';

const SECRET = 'app-secret-canary-0123456789abcdef';
const OPENID = 'oABCD-canary-openid-0123456';
const orders = makeKey('orders');
const reader = makeKey('reader');
const RULES = [
  { who: ['key:orders'], may: ['call'], apps: ['wxc'], paths: ['/cgi-bin/', '/sns/', '/stated/prefix/'] },
  { who: ['key:reader'], may: ['read', 'status'], apps: ['*'] },
];

let folder: string;
let sandbox: Awaited<ReturnType<typeof startSandbox>>;
let running: Running | undefined;
let lines: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-gateway-'));
  lines = [];
  const app = { appId: 'wxc', secret: SECRET };
  const listen = { host: '127.0.0.1', port: 0 };
  sandbox = await startSandbox({ listen, clock: systemClock, random: systemRandom, apps: [app] });
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  await sandbox.close();
  await rm(folder, { recursive: true });
});

const listen = { listen: '127.0.0.1:0' };

async function start(settings: object, path = join(folder, 'lingpai.json')): Promise<{ url: string; http: string }> {
  await writeFile(join(folder, 'keys'), keyFile(orders, reader));
  const config = {
    grpc: listen,
    http: listen,
    gateway: listen,
    store: { url: 'memory:' },
    upstream: { base_url: sandbox.url },
    audit: { to: join(folder, 'audit') },
    apps: [{ app_id: 'wxc', secret: SECRET, issuer: 'classic' }],
    ...settings,
  };
  await writeFile(path, JSON.stringify(config));
  const logger = createLogger({ level: 'debug', destination: { write: (line) => void lines.push(line) } });
  running = await runBroker(await load(path), logger);
  return { url: `http://${running.gateway}`, http: `http://${running.http}` };
}

const guarded = (settings: object = {}) => start({ access: { keys: 'keys', rules: RULES }, ...settings });

it('an SDK gets a stand-in by its key, and calls with it: WeChat sees the token, and the SDK sees none', async () => {
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  const answered = await ask(`${house.url}/cgi-bin/getcallbackip?access_token=${standIn}`);
  expect(answered).toHaveProperty('ip_list');
  expect(await fetchStable(house, { appid: 'wxc', secret: orders.key, force_refresh: null })).toMatchObject({
    access_token: standIn,
    expires_in: 7200,
  });
});

it('a token that dies is cured under the call', async () => {
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  const call = () => ask(`${house.url}/cgi-bin/getcallbackip?access_token=${standIn}`);
  await call();
  sandbox.wechat.kill('wxc', { issuer: 'classic', which: 'all' });
  const all = await Promise.all(Array.from({ length: 50 }, call));
  expect(all.filter((one) => 'ip_list' in one)).toHaveLength(50);
  expect(sandbox.wechat.counts('wxc')).toMatchObject({ classic: 2 });
});

it('calls that carry a secret carry the AppSecret out, and the key no further', async () => {
  const house = await guarded();
  const query = `appid=wxc&secret=${orders.key}&js_code=code-1&grant_type=authorization_code`;
  const answered = (await ask(`${house.url}/sns/jscode2session?${query}`)) as Record<string, unknown>;
  expect(answered).toHaveProperty('openid');
});

it('is not there where nothing was said of it', async () => {
  await start({ gateway: {} });
  expect(running?.gateway).toBeUndefined();
});

it('keys, rules and apps are those of the newest configuration', async () => {
  const path = join(folder, 'lingpai.json');
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  const call = async () => (await ask(`${house.url}/cgi-bin/getcallbackip?access_token=${standIn}`)).errcode;
  expect(await call()).toBeUndefined();
  await writeFile(join(folder, 'keys'), keyFile(reader));
  running?.reload(await load(path));
  expect(await call()).toBe(40001);
  expect(await fetchToken(house, 'wxc', orders.key)).toMatchObject({ errcode: 40125 });
});

it('an AppSecret that a reload brings is the one that goes out', async () => {
  const path = join(folder, 'lingpai.json');
  const app = (secret: string) => ({ apps: [{ app_id: 'wxc', secret, issuer: 'stable' }] });
  const house = await guarded(app('not-the-secret-0123456789'));
  const query = `appid=wxc&secret=${orders.key}&js_code=code-1&grant_type=authorization_code`;
  const login = () => ask(`${house.url}/sns/jscode2session?${query}`);
  expect((await login()).errcode).toBeGreaterThan(0);
  const written = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...written, ...app(SECRET) }));
  running?.reload(await load(path));
  expect(await login()).toHaveProperty('openid');
});

it('calls are counted by app, path, errcode, and what was cured; what the gateway added is measured', async () => {
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  await ask(`${house.url}/cgi-bin/getcallbackip?access_token=${standIn}`);
  await ask(`${house.url}/stated/prefix/x?access_token=${standIn}`).catch(() => {});
  await ask(`${house.url}/cgi-bin/user/get?access_token=nothing`);
  const scrape = async () => {
    const response = await fetch(`${house.http}/metrics`, { headers: { authorization: reader.authorization } });
    return (await response.text()).split('\n').filter((line) => line.startsWith('lingpai_gateway_'));
  };
  const text = await scrape();
  expect(text).toContain('lingpai_gateway_calls_total{app_id="wxc",path="/cgi-bin/token",errcode="0",cured="false"} 1');
  expect(text.some((line) => line.includes('path="/stated/prefix/"'))).toBe(true);
  expect(text).toContain(
    'lingpai_gateway_calls_total{app_id="none",path="/cgi-bin/user/",errcode="40001",cured="false"} 1',
  );
  expect(text.find((line) => line.startsWith('lingpai_gateway_added_seconds_count'))).toMatch(/ [1-9]/);
});

it('P12: no key, stand-in, token, AppSecret or openid is in a log, the audit log or a metric, whatever is asked', async () => {
  const house = await guarded({ gateway: { ...listen, tokens: 'standin' } });
  const canaries = new Canaries();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  canaries.add('key', orders.key, reader.key);
  canaries.add('stand-in', standIn.slice(60));
  canaries.add('AppSecret', SECRET);
  canaries.add('openid', OPENID);
  const got = await fetch(`${house.http}/lingpai.v1.TokenService/Get`, {
    method: 'POST',
    body: '{"appId":"wxc"}',
    headers: { 'content-type': 'application/json', authorization: reader.authorization },
  });
  const { state } = (await got.json()) as { state: { current: { value: string } } };
  const token = state.current.value;
  canaries.add('token', token);
  const shown: Answered[] = [];
  const all = [orders.key, reader.key, standIn, SECRET, OPENID];
  for (const text of all) {
    const query = `access_token=${standIn}&openid=${text}`;
    for (const path of [
      '/cgi-bin/token',
      '/cgi-bin/user/info',
      '/cgi-bin/ticket/getticket',
      '/sns/jscode2session',
      `/${text}`,
      `/cgi-bin/${text}`,
    ])
      for (const q of [`appid=${text}&secret=${text}`, query, `grant_type=${text}&appid=wxc&secret=${text}`, text])
        shown.push(await ask(`${house.url}${path}?${q}`));
    const body = JSON.stringify({ touser: text, msgtype: text });
    const post = (path: string, more = body) => ask(`${house.url}${path}`, { method: 'POST', body: more });
    shown.push(await post(`/cgi-bin/message/custom/send?access_token=${standIn}`));
    shown.push(await post('/cgi-bin/stable_token', JSON.stringify({ grant_type: text, appid: text, secret: text })));
    shown.push(await post('/cgi-bin/stable_token', text), await post('/cgi-bin/clear_quota/v2', text));
  }
  const scraped = await fetch(`${house.http}/metrics`, { headers: { authorization: reader.authorization } });
  const metrics = await scraped.text();
  await running?.stop();
  running = undefined;
  const audit = await readFile(join(folder, 'audit'), 'utf8');
  canaries.expectNoneIn({ log: lines.join(''), audit, metrics });
  // What a caller sent may stand in its answer; the token it did not send.
  expect(JSON.stringify(shown)).not.toContain(token);
  expect(shown.length).toBeGreaterThan(100);
});

it('the log says why WeChat was not reached, once, and with nothing of what was asked', async () => {
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  await sandbox.close();
  const call = () => ask(`${house.url}/cgi-bin/user/get?access_token=${standIn}&openid=${OPENID}`);
  for (const { errcode } of [await call(), await call()]) expect(errcode).toBe(-1);
  const failed = lines.filter((line) => line.includes('gateway call failed'));
  expect(failed).toHaveLength(1);
  expect(JSON.parse(failed[0] ?? '')).toMatchObject({ level: 'warn', app_id: 'wxc', path: '/cgi-bin/user/' });
  expect(failed[0]).toMatch(/"reason":"[^"]*(?:refused|connect|reached)/i);
  expect(failed[0]).not.toContain(OPENID);
});

it('tickets are those that the broker keeps: WeChat is asked once', async () => {
  const house = await guarded();
  const { access_token: standIn = '' } = await fetchToken(house, 'wxc', orders.key);
  const get = () => ask(`${house.url}/cgi-bin/ticket/getticket?access_token=${standIn}&type=jsapi`);
  const [one, two] = [await get(), await get()];
  expect(one).toMatchObject({ errcode: 0, errmsg: 'ok', ticket: expect.stringMatching(/.{20}/) });
  expect(two.ticket).toBe(one.ticket);
  expect(one.expires_in).toBeGreaterThan(7_000);
  expect(sandbox.wechat.calls.filter(({ kind }) => kind === 'ticket')).toHaveLength(1);
});

it('P14: beyond loopback it does not start without saying who may call', async () => {
  await expect(start({ gateway: { listen: '0.0.0.0:0' } })).rejects.toThrow('gateway.listen is beyond loopback');
  const rules = { access: { keys: 'keys', rules: RULES } };
  await expect(start({ gateway: { listen: '0.0.0.0:0' }, ...rules })).rejects.toThrow(/tls.*is missing/s);
});
