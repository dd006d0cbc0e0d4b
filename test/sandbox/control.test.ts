import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { FakeClock } from '../support/clock.ts';
import { appId, type Said, secret, seeded } from './support.ts';

const open: Sandbox[] = [];
afterEach(() => Promise.all(open.splice(0).map((sandbox) => sandbox.close())));

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers differ by route, and each test says what it expects of them.
  readonly body: any;
}

async function start() {
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock: new FakeClock(),
    random: seeded(),
    apps: [{ appId, secret }],
  });
  open.push(sandbox);
  async function send(method: string, path: string, body?: unknown): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${sandbox.url}${path}`, {
      method,
      ...(body !== undefined && { headers, body: text }),
    });
    return { status: response.status, body: await response.json() };
  }
  async function token(id = appId, given = secret): Promise<Said> {
    const query = new URLSearchParams({ grant_type: 'client_credential', appid: id, secret: given });
    return (await (await fetch(`${sandbox.url}/cgi-bin/token?${query}`)).json()) as Said;
  }
  return { ...sandbox, send, token };
}

describe('the control endpoint', () => {
  it('adds an app with every setting, and changes one of them alone', async () => {
    const { send, token, wechat } = await start();
    const settings = {
      lifetime_s: 60,
      overlap_s: 5,
      token_length: 512,
      quotas: { classic_per_day: 1, classic_per_minute: 2, stable_per_day: 3, stable_per_minute: 4, forced_per_day: 5 },
      allow_list: ['127.0.0.1'],
      condition: 'normal',
      wrong_secret: 40001,
      force_spacing_s: 1,
      force_too_soon: 45009,
      account_kind: 'mini_program',
      retired: false,
      users: ['oUser1'],
      templates: ['T1'],
      pages: ['pages/a'],
      unlimited_consent: true,
      message_quotas: { per_day: 6, per_minute: 7 },
      call_quotas: { per_day: 8, per_minute: 9 },
      ticket_lifetime_s: 30,
      menu: [{ type: 'view', name: 'a', url: 'https://a.example/' }],
      trailing_comma: true,
    };
    const added = await send('POST', '/sandbox/apps', { app_id: 'wxnew', secret: 'new', ...settings });
    expect(added).toEqual({ status: 200, body: { app_id: 'wxnew', any_secret: false, ...settings } });
    expect(wechat.app('wxnew')).toEqual({
      appId: 'wxnew',
      secret: 'new',
      lifetimeMs: 60_000,
      overlapMs: 5_000,
      tokenLength: 512,
      quotas: { classicPerDay: 1, classicPerMinute: 2, stablePerDay: 3, stablePerMinute: 4, forcedPerDay: 5 },
      allowList: ['127.0.0.1'],
      condition: 'normal',
      wrongSecret: 40001,
      forceSpacingMs: 1_000,
      forceTooSoon: 45009,
      accountKind: 'mini_program',
      retired: false,
      users: ['oUser1'],
      templates: ['T1'],
      pages: ['pages/a'],
      unlimitedConsent: true,
      messageQuotas: { perDay: 6, perMinute: 7 },
      callQuotas: { perDay: 8, perMinute: 9 },
      ticketLifetimeMs: 30_000,
      menu: [{ type: 'view', name: 'a', url: 'https://a.example/' }],
      trailingComma: true,
    });
    expect((await token('wxnew', 'new')).expires_in).toBe(60);

    const change = {
      app_id: 'wxnew',
      condition: 'secret_frozen',
      quotas: { classic_per_day: 9 },
      message_quotas: { per_minute: 8 },
      call_quotas: { per_day: 1 },
      menu: null,
      users: null,
      retired: true,
    };
    const changed = await send('POST', '/sandbox/apps', change);
    expect(changed.body).toEqual({
      ...added.body,
      condition: 'secret_frozen',
      quotas: { ...settings.quotas, classic_per_day: 9 },
      message_quotas: { per_day: 6, per_minute: 8 },
      call_quotas: { per_day: 1, per_minute: 9 },
      menu: null,
      users: null,
      retired: true,
    });
    expect((await token('wxnew', 'new')).errcode).toBe(40243);

    await send('POST', '/sandbox/apps', { app_id: 'wxnew', condition: 'normal', allow_list: null, secret: null });
    expect((await token('wxnew', 'whatever')).access_token).toBeTruthy();
  });

  it('kills and mints, and answers with ids alone', async () => {
    const { send, token, wechat } = await start();
    const { access_token: value = '' } = await token();
    const [{ id } = { id: '' }] = wechat.tokens(appId);
    expect((await send('POST', `/sandbox/apps/${appId}/kill`, { issuer: 'classic' })).body).toEqual({
      killed_token_ids: [id],
    });
    expect(wechat.honours(appId, value)).toBe(false);
    const { body } = await send('POST', `/sandbox/apps/${appId}/mint`, { issuer: 'stable' });
    expect(body).toEqual({ token_id: expect.stringMatching(/^[0-9a-f]{12}$/) });
    expect(wechat.counts(appId).outsideMints).toBe(1);
    const stuck = await send('POST', `/sandbox/apps/${appId}/kill`, { issuer: 'stable', which: 'all', stuck: true });
    expect(stuck.body).toEqual({ killed_token_ids: [body.token_id] });
  });

  it('injects faults of each kind and clears them', async () => {
    const { send, faults, token } = await start();
    const bodies = [
      { kind: 'latency', ms: 5 },
      { kind: 'hang', takes_effect: true },
      { kind: 'reset' },
      { kind: 'html', status: 200 },
      { kind: 'truncated' },
      { kind: 'empty' },
      { kind: 'huge' },
      { kind: 'body', body: { access_token: '', expires_in: null } },
      { kind: 'body', body: 'not JSON', takes_effect: true },
      { kind: 'errcode', errcode: -1, errmsg: 'busy' },
    ];
    for (const body of bodies)
      expect((await send('POST', '/sandbox/faults', { ...body, app_id: 'wxother' })).status).toBe(200);
    expect(faults.active.map(({ effect }) => effect)).toEqual([
      { kind: 'latency', ms: 5 },
      { kind: 'hang', takesEffect: true },
      { kind: 'reset', takesEffect: false },
      { kind: 'html', status: 200, takesEffect: false },
      { kind: 'truncated' },
      { kind: 'empty', takesEffect: false },
      { kind: 'huge', bytes: 1_048_576, takesEffect: false },
      { kind: 'body', text: '{"access_token":"","expires_in":null}', takesEffect: false },
      { kind: 'body', text: 'not JSON', takesEffect: true },
      { kind: 'errcode', errcode: -1, errmsg: 'busy' },
    ]);
    expect((await token()).access_token).toBeTruthy();
    expect((await send('DELETE', '/sandbox/faults')).body).toEqual({ faults: [] });

    const scoped = { kind: 'errcode', errcode: 50002, app_id: appId, calls: ['classic'], count: 1, duration_s: 60 };
    expect((await send('POST', '/sandbox/faults', scoped)).body).toEqual({
      faults: [
        { kind: 'errcode', takes_effect: false, app_id: appId, calls: ['classic'], calls_left: 1, ends_in_s: 60 },
      ],
    });
    expect((await token()).errcode).toBe(50002);
    expect((await token()).access_token).toBeTruthy();
  });

  it('takes forms and consents, and shows and empties the inbox', async () => {
    const { send, token, wechat } = await start();
    wechat.changeApp(appId, { retired: false });
    wechat.setApp({ appId: 'wxother', secret: null, unlimitedConsent: true });
    const post = async (path: string, bearer: string, body: object) =>
      (await send('POST', `/cgi-bin/message/${path}?access_token=${bearer}`, body)).body.errcode;

    const form = { to_user: 'o1', form_id: 'f1', kind: 'prepay_id', age_s: 60 };
    expect((await send('POST', `/sandbox/apps/${appId}/forms`, form)).body).toEqual(form);
    const old = { to_user: 'o1', form_id: 'f2', age_s: 7 * 86_400 };
    expect((await send('POST', `/sandbox/apps/${appId}/forms`, old)).body).toEqual({ ...old, kind: 'form_id' });
    const consent = { to_user: 'o1', template_id: 'T1' };
    expect((await send('POST', `/sandbox/apps/${appId}/consents`, consent)).body).toEqual({ ...consent, count: 1 });
    const three = await send('POST', `/sandbox/apps/${appId}/consents`, { ...consent, count: 2 });
    expect(three.body).toEqual({ ...consent, count: 3 });

    const { access_token: bearer = '' } = await token();
    const body = { touser: 'o1', template_id: 'T1', data: { thing1: { value: 'Tea' } } };
    expect(await post('wxopen/template/send', bearer, { ...body, form_id: 'f2' })).toBe(41028);
    expect(await post('wxopen/template/send', bearer, { ...body, form_id: 'f1', page: 'pages/a' })).toBe(0);
    expect(await post('subscribe/send', bearer, body)).toBe(0);
    expect(wechat.messages(appId).permits.consents('o1', 'T1')).toBe(2);
    const { access_token: other = '' } = await token('wxother');
    const miniprogram = { appid: 'wx2', pagepath: 'p' };
    expect(await post('template/send', other, { ...body, touser: 'o2', miniprogram, client_msg_id: 'c' })).toBe(0);

    const base = { time: '2026-01-15T04:00:00.000Z', template_id: 'T1', data: { thing1: { value: 'Tea', color: '' } } };
    const id = expect.stringMatching(/^\d{19}$/);
    const all = [
      {
        ...base,
        message_id: id,
        app_id: 'wxother',
        channel: 'official_account',
        to_user: 'o2',
        mini_program_app_id: 'wx2',
        mini_program_page: 'p',
        client_msg_id: 'c',
      },
      { ...base, message_id: id, app_id: appId, channel: 'subscribe', to_user: 'o1' },
      {
        ...base,
        message_id: id,
        app_id: appId,
        channel: 'mini_program',
        to_user: 'o1',
        form_id: 'f1',
        page: 'pages/a',
      },
    ];
    expect((await send('GET', '/sandbox/inbox')).body).toEqual({ delivered: 3, messages: all });
    expect((await send('GET', `/sandbox/inbox?app_id=${appId}`)).body.delivered).toBe(2);
    expect((await send('GET', '/sandbox/inbox?to_user=o2')).body).toEqual({ delivered: 1, messages: all.slice(0, 1) });
    const empty = { delivered: 0, messages: [] };
    expect((await send('GET', `/sandbox/inbox?app_id=${appId}&to_user=o2`)).body).toEqual(empty);
    expect((await send('DELETE', `/sandbox/inbox?app_id=${appId}`)).body).toEqual(empty);
    expect((await send('GET', '/sandbox/inbox')).body.delivered).toBe(1);
    expect((await send('DELETE', '/sandbox/inbox')).body).toEqual(empty);
    expect((await send('GET', '/sandbox/inbox')).body).toEqual(empty);
  });

  it('shows the state, without a secret or a token', async () => {
    const { send, token } = await start();
    const first = await token();
    await token();
    await token(appId, 'battery staple');
    const { body } = await send('GET', '/sandbox/state');
    expect(body).toMatchObject({
      time: '2026-01-15T04:00:00.000Z',
      apps: [
        {
          app_id: appId,
          condition: 'normal',
          tokens: [
            { issuer: 'classic', honoured: true, expire_time: '2026-01-15T06:00:00.000Z' },
            { issuer: 'classic', honoured: true, expire_time: '2026-01-15T04:05:00.000Z' },
          ],
          counts: { classic: 3, stable: 0, stable_force: 0, probe: 0, mints: 2, outside_mints: 0 },
        },
      ],
      counts: { classic: 3, mints: 2 },
      faults: [],
      calls: [
        { kind: 'classic', app_id: appId, errcode: 0, minted: true, token_id: expect.stringMatching(/^[0-9a-f]{12}$/) },
        { errcode: 0 },
        { errcode: 40125, token_id: null },
      ],
    });
    const text = JSON.stringify(body);
    for (const hidden of [secret, 'battery', first.access_token ?? '?']) expect(text).not.toContain(hidden);
  });

  const bad: [string, string, unknown, number, RegExp][] = [
    [
      'GET',
      '/sandbox/nothing',
      undefined,
      404,
      /^there is no \/sandbox\/nothing: send GET \/sandbox\/, GET \/sandbox\/state, /,
    ],
    ['POST', '/sandbox/', {}, 405, /^POST does nothing here: send GET \/sandbox\/$/],
    ['POST', '/sandbox/inbox', {}, 405, /send GET \/sandbox\/inbox or DELETE \/sandbox\/inbox$/],
    ['GET', '/sandbox/inbox?app_id=wxnone', undefined, 404, /^there is no app "wxnone"/],
    ['GET', '/sandbox/inbox?user=o1', undefined, 400, /^user: not known here, leave it out$/],
    ['DELETE', '/sandbox/inbox?to_user=o1', undefined, 400, /^to_user: an inbox is emptied for all users/],
    ['POST', '/sandbox/apps/wxnone/forms', {}, 404, /^there is no app "wxnone": add it with POST/],
    ['POST', '/sandbox/apps/wxnone/consents', {}, 404, /^there is no app "wxnone": add it with POST/],
    ['POST', `/sandbox/apps/${appId}/forms`, {}, 400, /^to_user: write the openid.*; form_id: write the form_id/],
    [
      'POST',
      `/sandbox/apps/${appId}/forms`,
      { to_user: 'o', form_id: 'f', kind: 'x' },
      400,
      /^kind: write one of "form_id", "prepay_id"$/,
    ],
    [
      'POST',
      `/sandbox/apps/${appId}/consents`,
      { to_user: 'o', template_id: 'T', count: 0 },
      400,
      /^count: write an integer, 1 to/,
    ],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, users: 'o' },
      400,
      /^users: write a list of openids, or null to take all$/,
    ],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, templates: [''] },
      400,
      /^templates\.0: write a text that is not empty$/,
    ],
    ['POST', '/sandbox/apps', { app_id: appId, retired: 0 }, 400, /^retired: write true or false$/],
    ['POST', '/sandbox/apps', { app_id: appId, account_kind: 'x' }, 400, /^account_kind: write one of "any", "mini/],
    ['GET', '/sandbox/apps', undefined, 405, /^GET does nothing here: send POST \/sandbox\/apps$/],
    ['PUT', '/sandbox/faults', {}, 405, /send POST \/sandbox\/faults or DELETE \/sandbox\/faults$/],
    ['GET', `/sandbox/apps/${appId}/kill`, undefined, 405, /send POST \/sandbox\/apps\/\{app_id\}\/kill$/],
    ['POST', '/sandbox/apps/wxnone/kill', { issuer: 'classic' }, 404, /^there is no app "wxnone": add it with POST/],
    ['POST', '/sandbox/apps', 'not JSON', 400, /^the body is not JSON: send a JSON object$/],
    ['POST', '/sandbox/apps', [], 400, /^the body is not a JSON object: send /],
    ['POST', '/sandbox/apps', {}, 400, /^app_id: write the app id$/],
    ['POST', '/sandbox/apps', { app_id: 'a b' }, 400, /^app_id: write 1 to 64 characters/],
    ['POST', '/sandbox/apps', { app_id: 'wxnew' }, 400, /^secret: a new app needs one/],
    ['POST', '/sandbox/apps', { app_id: appId, secret: '' }, 400, /^secret: write the AppSecret, or null/],
    ['POST', '/sandbox/apps', { app_id: appId, lifetime: 1 }, 400, /^lifetime: not known here, leave it out$/],
    ['POST', '/sandbox/apps', { app_id: appId, lifetime_s: '1' }, 400, /^lifetime_s: write a number of seconds, 1 to/],
    ['POST', '/sandbox/apps', { app_id: appId, lifetime_s: 0 }, 400, /^lifetime_s: write a number of seconds, 1 to/],
    ['POST', '/sandbox/apps', { app_id: appId, quotas: { x: 1 } }, 400, /^quotas\.x: not known here/],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, quotas: { classic_per_day: -1 } },
      400,
      /^quotas.classic_per_day: write an/,
    ],
    ['POST', '/sandbox/apps', { app_id: appId, quotas: 5 }, 400, /^quotas: write an object/],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, allow_list: ['x'] },
      400,
      /^allow_list\.0: write an IPv4 or IPv6 address$/,
    ],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, allow_list: 'x' },
      400,
      /^allow_list: write a list of IP addresses, or null/,
    ],
    [
      'POST',
      '/sandbox/apps',
      { app_id: appId, condition: 'x' },
      400,
      /^condition: write one of "normal", "secret_frozen", /,
    ],
    ['POST', '/sandbox/apps', { app_id: appId, token_length: 1, overlap_s: -1 }, 400, /^overlap_s: .*; token_length: /],
    ['POST', `/sandbox/apps/${appId}/kill`, {}, 400, /^issuer: write "classic" or "stable"$/],
    ['POST', `/sandbox/apps/${appId}/kill`, { issuer: 'classic', stuck: true }, 400, /^stuck: only a stable token/],
    [
      'POST',
      `/sandbox/apps/${appId}/kill`,
      { issuer: 'stable', which: 'x' },
      400,
      /^which: write one of "current", "all"$/,
    ],
    ['POST', `/sandbox/apps/${appId}/mint`, { issuer: 'x' }, 400, /^issuer: write "classic" or "stable"$/],
    [
      'POST',
      '/sandbox/faults',
      {},
      400,
      /^kind: write one of "latency", "hang", "reset", "html", "truncated", "empty", /,
    ],
    ['POST', '/sandbox/faults', { kind: 'refused' }, 400, /^kind: write one of/],
    ['POST', '/sandbox/faults', { kind: 'latency' }, 400, /^ms: write an integer, 1 to/],
    ['POST', '/sandbox/faults', { kind: 'body' }, 400, /^body: write the answer: a text as it is, or any JSON$/],
    ['POST', '/sandbox/faults', { kind: 'errcode' }, 400, /^errcode: write an integer/],
    ['POST', '/sandbox/faults', { kind: 'hang', ms: 5 }, 400, /^ms: not known here, leave it out$/],
    ['POST', '/sandbox/faults', { kind: 'hang', takes_effect: 1 }, 400, /^takes_effect: write true or false$/],
    ['POST', '/sandbox/faults', { kind: 'hang', calls: ['x'] }, 400, /^calls\.0: write one of "classic", "stable", /],
    ['POST', '/sandbox/faults', { kind: 'hang', calls: [] }, 400, /^calls: write a list of /],
    ['POST', '/sandbox/faults', { kind: 'hang', count: 0 }, 400, /^count: write an integer, 1 to/],
    ['POST', '/sandbox/faults', 'x'.repeat(300_000), 413, /^the body is too large: send at most 262144 bytes$/],
  ];
  it.each(bad.map((each, index) => ({ index, each })))('bad input $index: $each.0 $each.1', async ({ each }) => {
    const [method, path, body, status, error] = each;
    const { send, wechat } = await start();
    const before = wechat.app(appId);
    expect(await send(method, path, body)).toEqual({ status, body: { error: expect.stringMatching(error) } });
    expect(wechat.app(appId)).toEqual(before);
    expect(wechat.appIds).toEqual([appId]);
    expect(wechat.faults.active).toEqual([]);
  });
});

describe('web pages', () => {
  /** fetch sets neither Host nor Origin. */
  function ask(
    url: string,
    method: string,
    headers: Record<string, string>,
  ): Promise<{ status: number; text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
    const asked = request(url, { method, headers }, async (response) => {
      const chunks = await response.setEncoding('utf8').toArray();
      resolve({ status: response.statusCode ?? 0, text: chunks.join('') });
    });
    asked.on('error', reject).end(method === 'POST' ? '{"kind":"hang"}' : undefined);
    return promise;
  }
  const json = { 'content-type': 'application/json' };

  it.each([
    ['of another origin', { ...json, origin: 'https://evil.example' }, 403],
    ['of no origin', { ...json, origin: 'null' }, 403],
    ['whose name was made to lead here', { ...json, host: 'evil.example' }, 421],
    ['with a form', { 'content-type': 'text/plain' }, 415],
    ['with a form of fields', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['that say nothing', {}, 415],
  ])('%s change nothing', async (_, headers, status) => {
    const { url, faults } = await start();
    const answer = await ask(`${url}/sandbox/faults`, 'POST', headers);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toEqual({ error: expect.stringMatching(/./) });
    expect(faults.active).toEqual([]);
  });

  it('read nothing, by no path of it', async () => {
    const { url } = await start();
    for (const path of ['/sandbox/', '/sandbox', '/sandbox/state', '/sandbox/inbox', '/sandbox//state'])
      for (const headers of [{ host: 'evil.example' }, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }])
        expect((await ask(url + path, 'GET', headers)).text).not.toContain(appId);
  });

  it('of its own may, and so may whoever calls it by a name of this machine', async () => {
    const { url, faults } = await start();
    const { port } = new URL(url);
    for (const headers of [{ origin: url }, { host: `localhost:${port}` }, {}])
      expect((await ask(`${url}/sandbox/faults`, 'POST', { ...json, ...headers })).status).toBe(200);
    expect(faults.active).toHaveLength(3);
  });

  it('do not matter to the endpoints of WeChat, which may have any name', async () => {
    const { url } = await start();
    expect((await ask(`${url}/cgi-bin/get_api_domain_ip`, 'GET', { host: 'api.weixin.qq.com' })).text).toContain(
      '41001',
    );
  });
});

describe('what is kept', () => {
  it("stubs: a hundred, of paths that are nobody else's", async () => {
    const { send, wechat } = await start();
    const stub = (path: string, body: unknown = {}) => send('POST', '/sandbox/stubs', { path, body });
    for (let i = 0; i < 100; i++) expect((await stub(`/wxa/${i}`)).status).toBe(200);
    expect(await stub('/wxa/100')).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining('100 stubs') },
    });
    expect((await stub('/wxa/99', 'as it is')).body.stubs).toHaveLength(100);
    expect(wechat.stubs.answer('/wxa/99')).toBe('as it is');
    for (const path of [
      '/cgi-bin/token',
      '/cgi-bin/message/template/send',
      '/sandbox/state',
      'wxa',
      '/a?b',
      `/${'x'.repeat(256)}`,
    ])
      expect(await stub(path)).toMatchObject({ status: 400, body: { error: expect.stringMatching(/^path: /) } });
    expect((await send('POST', '/sandbox/stubs', { path: '/a' })).body.error).toMatch(/^body: /);
    expect((await send('GET', '/sandbox/stubs')).body.stubs).toHaveLength(100);
    expect((await send('DELETE', '/sandbox/stubs')).body).toEqual({ stubs: [] });
    expect(wechat.stubs.answer('/wxa/99')).toBe('{"errcode":0,"errmsg":"ok"}');
  });

  it('faults: a hundred', async () => {
    const { send, faults } = await start();
    for (let i = 0; i < 100; i++) expect((await send('POST', '/sandbox/faults', { kind: 'hang' })).status).toBe(200);
    expect((await send('POST', '/sandbox/faults', { kind: 'hang' })).status).toBe(400);
    expect(faults.active).toHaveLength(100);
  });

  it('no body that is not UTF-8', async () => {
    const { url } = await start();
    const response = await fetch(`${url}/sandbox/apps/${appId}/consents`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from([0x7b, 0xd6, 0xd0, 0x7d]),
    });
    expect([response.status, await response.json()]).toEqual([
      400,
      { error: 'the body is not UTF-8: send JSON in UTF-8' },
    ]);
  });
});
