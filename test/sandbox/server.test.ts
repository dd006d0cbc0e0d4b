import { afterEach, describe, expect, it } from 'vitest';
import type { CallRecord } from '../../src/sandbox/calls.ts';
import type { FaultEffect } from '../../src/sandbox/faults.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { FakeClock } from '../support/clock.ts';
import { appId, type Said, secret, seeded } from './support.ts';

const open: Sandbox[] = [];
afterEach(() => Promise.all(open.splice(0).map((sandbox) => sandbox.close())));

/** A sandbox with one app; `arrived` resolves with the next call that reaches it. */
async function start(anyApp = false) {
  const clock = new FakeClock();
  let tell: (record: CallRecord) => void = () => {};
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    random: seeded(),
    apps: [{ appId, secret }],
    anyApp,
    log: (record) => tell(record),
  });
  open.push(sandbox);
  const arrived = () =>
    new Promise<CallRecord>((resolve) => {
      tell = resolve;
    });
  const classic = (init: RequestInit = {}, query = `appid=${appId}&secret=${encodeURIComponent(secret)}`) =>
    fetch(`${sandbox.url}/cgi-bin/token?grant_type=client_credential&${query}`, init);
  const stable = (body: unknown) =>
    fetch(`${sandbox.url}/cgi-bin/stable_token`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return {
    ...sandbox,
    clock,
    arrived,
    classic,
    stable,
    inject: (effect: FaultEffect) => sandbox.faults.inject({ effect, count: 1 }),
  };
}

const said = async (response: Response | Promise<Response>) => (await (await response).json()) as Said;

/** The code of the network error with which a request fails. */
async function networkError(request: Promise<unknown>): Promise<string> {
  const error = (await request.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  )) as Error & { cause?: { code?: string } };
  return error.cause?.code ?? error.name;
}

describe('over HTTP', () => {
  it('answers both issuers and the probe, always with status 200', async () => {
    const { url, wechat, classic, stable } = await start();
    const body = { grant_type: 'client_credential', appid: appId, secret };
    const answers = [
      await said(classic()),
      await said(stable(body)),
      await said(stable({ ...body, force_refresh: true })),
    ];
    for (const { access_token: value = '', expires_in } of answers) {
      expect(wechat.honours(appId, value)).toBe(true);
      expect(expires_in).toBe(7200);
      const probe = await fetch(`${url}/cgi-bin/get_api_domain_ip?access_token=${value}`);
      expect((await said(probe)).ip_list).toHaveLength(3);
    }
    expect(wechat.counts()).toMatchObject({ classic: 1, stable: 1, stable_force: 1, probe: 3, mints: 3 });
    const refused = await classic({}, `appid=${appId}&secret=wrong`);
    expect(refused.status).toBe(200);
    expect((await said(refused)).errcode).toBe(40125);
  });

  it('names the address of the caller in 40164', async () => {
    const { wechat, classic } = await start();
    wechat.changeApp(appId, { allowList: ['10.0.0.1'] });
    expect((await said(classic())).errmsg).toMatch(
      /^invalid ip 127\.0\.0\.1 ipv6 ::ffff:127\.0\.0\.1, not in whitelist rid: /,
    );
  });

  it('refuses wrong methods, paths and bodies as WeChat does', async () => {
    const { url, classic, stable, wechat } = await start();
    expect((await said(classic({ method: 'POST' }))).errcode).toBe(43001);
    expect((await said(fetch(`${url}/cgi-bin/stable_token`))).errcode).toBe(43002);
    expect((await said(fetch(`${url}/cgi-bin/get_api_domain_ip`, { method: 'POST' }))).errcode).toBe(43001);
    expect((await said(fetch(`${url}/cgi-bin/${'x'.repeat(256)}`))).errcode).toBe(40066);
    for (const body of ['', '{', 'null', '5', { appid: 5 }, { force_refresh: 'true' }]) {
      expect((await said(stable(body))).errcode).toBe(47001);
    }
    expect((await said(stable({}))).errcode).toBe(40002);
    expect((await said(stable({ grant_type: 'client_credential' }))).errcode).toBe(41002);
    expect((await said(stable({ grant_type: 'client_credential', appid: null, force_refresh: null }))).errcode).toBe(
      41002,
    );
    const gbk = Buffer.concat([Buffer.from('{"grant_type":"'), Buffer.from([0xd6, 0xd0]), Buffer.from('"}')]);
    expect((await said(fetch(`${url}/cgi-bin/stable_token`, { method: 'POST', body: gbk }))).errcode).toBe(47001);
    expect((await said(classic({}, ''))).errcode).toBe(41002);
    expect((await said(classic({}, `appid=${appId}`))).errcode).toBe(41004);
    expect(wechat.counts().mints).toBe(0);
  });

  it('takes a message by each call, and refuses wrong methods and bodies', async () => {
    const { url, wechat, classic } = await start();
    wechat.changeApp(appId, { retired: false, unlimitedConsent: true, trailingComma: true });
    wechat.messages(appId).permits.addForm({ formId: 'f', toUser: 'o1', kind: 'form_id', collectTime: wechat.now() });
    const { access_token: token = '' } = await said(classic());
    const body = { touser: 'o1', template_id: 'T1', form_id: 'f', data: { k: { value: 'v', color: '#000000' } } };
    for (const path of ['wxopen/template/send', 'subscribe/send', 'template/send', 'subscribe/bizsend']) {
      const to = `${url}/cgi-bin/message/${path}?access_token=${token}`;
      const post = (text: string) => fetch(to, { method: 'POST', body: text });
      expect((await said(fetch(to))).errcode).toBe(43002);
      for (const wrong of ['', '{', '[]', 'null', '{"touser":5}', '{"data":{"k":"v"}}']) {
        expect((await said(post(wrong))).errcode).toBe(47001);
      }
      expect(await (await post(JSON.stringify(body))).text()).toMatch(
        /^\{"errcode":0,"errmsg":"ok","msgid":\d{19},\}$/,
      );
    }
    expect(wechat.messages(appId).inbox.count('o1')).toBe(4);
    expect((await said(fetch(`${url}/cgi-bin/message/template/send`, { method: 'POST', body: '{}' }))).errcode).toBe(
      41001,
    );
  });

  it('reads bodies as the libraries write them', async () => {
    const { url, wechat, classic } = await start();
    wechat.changeApp(appId, { unlimitedConsent: true });
    const { access_token: token = '' } = await said(classic());
    const post = async (path: string, body: object) => {
      const to = `${url}/cgi-bin/message/${path}?access_token=${token}`;
      return await said(fetch(to, { method: 'POST', body: JSON.stringify(body) }));
    };
    const letter = { touser: 'o1', template_id: 'T1', data: { k: { value: 'v', color: null } } };
    const blank = { url: null, page: null, client_msg_id: null, color: '' };
    for (const miniprogram of [null, '', [], {}, { appid: null, pagepath: '' }])
      expect(await post('template/send', { ...letter, ...blank, miniprogram })).toMatchObject({ errcode: 0 });
    expect(await post('subscribe/send', { ...letter, lang: null, miniprogram_state: '' })).toMatchObject({
      errcode: 0,
    });
    expect(await post('subscribe/send', { ...letter, data: { number1: { value: 3.5 } } })).toMatchObject({
      errcode: 0,
    });
    expect(wechat.messages(appId).inbox.messages()[0]?.data).toEqual({ number1: { value: '3.5', color: '' } });
    for (const data of [[], null, '', {}, undefined])
      expect(await post('template/send', { ...letter, data })).toMatchObject({
        errcode: 47003,
        errmsg: expect.stringContaining('data is empty'),
      });
    expect(await post('template/send', { ...letter, data: { k: { value: null } } })).toMatchObject({ errcode: 47003 });
    expect(await post('template/send', { ...letter, touser: null })).toMatchObject({ errcode: 40003 });
  });

  it('ends a connection whose body is too large and has no length, and lives on', async () => {
    const { url, classic } = await start();
    let left = 10;
    const body = new ReadableStream({
      async pull(controller) {
        await new Promise(setImmediate);
        if (left-- > 0) controller.enqueue(new Uint8Array(64 * 1024));
        else controller.close();
      },
    });
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
    await expect(fetch(`${url}/cgi-bin/stable_token`, init)).rejects.toThrow();
    expect((await said(classic())).access_token).toBeTruthy();
  });

  it('checks the token of any other call, and answers ok or what was set', async () => {
    const { url, wechat, classic } = await start();
    const { access_token: token = '' } = await said(classic());
    const call = (given: string, method = 'POST') =>
      said(fetch(`${url}/wxa/business/getuserphonenumber?access_token=${given}`, { method }));
    expect(await call('')).toMatchObject({ errcode: 41001 });
    expect(await call('nobody')).toMatchObject({ errcode: 40014 });
    expect(await call(token)).toEqual({ errcode: 0, errmsg: 'ok' });
    wechat.stubs.set('/wxa/business/getuserphonenumber', '{"errcode":0,"phone_info":{}}');
    expect(await call(token, 'GET')).toEqual({ errcode: 0, phone_info: {} });
    expect((await said(fetch(`${url}/cgi-bin/tags/get?access_token=${token}`))).errcode).toBe(0);
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: ['other'], count: 1 });
    expect(await call(token)).toMatchObject({ errcode: 45009 });
    wechat.kill(appId, { issuer: 'classic', which: 'current' });
    expect(await call(token)).toMatchObject({ errcode: 40001 });
    expect(wechat.counts(appId).other).toBe(5);
    expect(wechat.calls.at(-1)).toMatchObject({
      kind: 'other',
      path: '/wxa/business/getuserphonenumber',
      errcode: 40001,
    });
    expect(JSON.stringify(wechat.calls)).not.toContain(token);
  });

  it.each(['/sandbox/', '/sandbox', '/sandbox/?app_id=x'])(
    'shows a page at %s that may run no script',
    async (path) => {
      const { url } = await start();
      const response = await fetch(url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(response.headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; style-src 'unsafe-inline'; /,
      );
      expect(await response.text()).toContain(appId);
    },
  );

  it('takes any app where it may', async () => {
    const { classic } = await start(true);
    expect((await said(classic({}, 'appid=wxany&secret=any'))).access_token).toBeTruthy();
  });

  it('says what to do when it cannot listen', async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    const taken = startSandbox({
      listen: { host: '127.0.0.1', port },
      clock: new FakeClock(),
      random: seeded(),
      apps: [],
    });
    await expect(taken).rejects.toThrow(`cannot listen on 127.0.0.1:${port}: listen EADDRINUSE`);
    await expect(taken).rejects.toThrow('choose another address');
  });
});

describe('faults over HTTP', () => {
  it('latency: handled at once, answered when its time has passed', async () => {
    const { clock, wechat, arrived, classic, inject } = await start();
    inject({ kind: 'latency', ms: 60_000 });
    const record = arrived();
    const answer = classic();
    expect(await record).toMatchObject({ minted: true, fault: 'latency' });
    expect(clock.pending).toBe(1);
    await clock.advance(60_000);
    expect(wechat.honours(appId, (await said(answer)).access_token ?? '')).toBe(true);
  });

  it('latency: a caller that leaves takes its timer along', async () => {
    const { clock, arrived, classic, inject } = await start();
    const cancelled = new Promise<void>((resolve) => {
      const schedule = clock.schedule.bind(clock);
      clock.schedule = (delayMs, fn) => {
        const timer = schedule(delayMs, fn);
        return {
          cancel() {
            timer.cancel();
            resolve();
          },
        };
      };
    });
    inject({ kind: 'latency', ms: 60_000 });
    const record = arrived();
    const abort = new AbortController();
    const answer = networkError(classic({ signal: abort.signal }));
    await record;
    abort.abort();
    expect(await answer).toBe('AbortError');
    await cancelled;
    expect(clock.pending).toBe(0);
  });

  it.each([false, true])('hang, taking effect: %s: no answer until the caller gives up', async (takesEffect) => {
    const { arrived, classic, inject } = await start();
    inject({ kind: 'hang', takesEffect });
    const record = arrived();
    const abort = new AbortController();
    const answer = networkError(classic({ signal: abort.signal }));
    expect(await record).toMatchObject({ minted: takesEffect, fault: 'hang' });
    expect((await said(classic())).access_token).toBeTruthy();
    abort.abort();
    expect(await answer).toBe('AbortError');
  });

  it.each([false, true])('reset, taking effect: %s', async (takesEffect) => {
    const { wechat, classic, inject } = await start();
    inject({ kind: 'reset', takesEffect });
    expect(await networkError(classic())).toMatch(/^(ECONNRESET|UND_ERR_SOCKET)$/);
    expect(wechat.counts(appId).mints).toBe(takesEffect ? 1 : 0);
    expect((await said(classic())).access_token).toBeTruthy();
  });

  const bodies: [FaultEffect, number, number, (text: string) => void][] = [
    [{ kind: 'html', status: 502, takesEffect: false }, 502, 0, (text) => expect(text).toMatch(/^<html>/)],
    [{ kind: 'html', status: 200, takesEffect: true }, 200, 1, (text) => expect(text).toMatch(/^<html>/)],
    [{ kind: 'truncated' }, 200, 1, (text) => expect(text).toMatch(/^\{"access_token":"92_[\w-]+$/)],
    [{ kind: 'empty', takesEffect: false }, 200, 0, (text) => expect(text).toBe('')],
    [{ kind: 'huge', bytes: 100_000, takesEffect: false }, 200, 0, (text) => expect(text).toHaveLength(100_000)],
    [
      { kind: 'body', text: '{"expires_in":"x"}', takesEffect: true },
      200,
      1,
      (text) => expect(text).toBe('{"expires_in":"x"}'),
    ],
    [
      { kind: 'errcode', errcode: -1 },
      200,
      0,
      (text) => expect(text).toMatch(/^\{"errcode":-1,"errmsg":"system error rid: /),
    ],
  ];
  it.each(bodies)('%o answers with status %i and mints %i', async (effect, status, mints, check) => {
    const { wechat, classic, inject } = await start();
    inject(effect);
    const response = await classic();
    expect(response.status).toBe(status);
    check(await response.text());
    expect(wechat.counts(appId).mints).toBe(mints);
    expect((await said(classic())).access_token).toBeTruthy();
  });
});

describe('close', () => {
  it('ends hanging and late answers at once, and may be called twice', async () => {
    const { clock, close, arrived, classic, inject } = await start();
    inject({ kind: 'hang', takesEffect: true });
    inject({ kind: 'latency', ms: 60_000 });
    const answers: Promise<string>[] = [];
    for (const fault of ['hang', 'latency']) {
      const record = arrived();
      answers.push(networkError(classic()));
      expect((await record).fault).toBe(fault);
    }
    await Promise.all([close(), close()]);
    for (const answer of answers) expect(await answer).toMatch(/^(ECONNRESET|UND_ERR_SOCKET)$/);
    expect(clock.pending).toBe(0);
    expect(await networkError(classic())).toBe('ECONNREFUSED');
  });
});
