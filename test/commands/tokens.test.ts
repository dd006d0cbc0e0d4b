import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { APPS, Place, SECRET } from '../support/lingpai.ts';
import { sendingPlace } from '../support/sending.ts';

/** A company's gateway passes the token calls and messages, and nothing else. */
function blockProbes({ wechat }: Place): void {
  wechat.wechat.faults.inject({ effect: { kind: 'html', status: 404, takesEffect: false }, calls: ['probe'] });
}

it('check --online probes the token that it got, and says what a gateway must pass', async () => {
  await using place = await Place.make();
  await place.configure();
  expect((await place.run('check', '--online')).code).toBe(0);
  expect(place.wechat.wechat.counts('wxa').probe).toBe(1);
  blockProbes(place);
  const { code, output } = await place.run('check', '--online', '--json');
  expect(code).toBe(1);
  const { ok, apps } = JSON.parse(output.slice(0, output.indexOf('\n')));
  expect({ ok, apps }).toMatchObject({
    ok: false,
    apps: [
      { app_id: 'wxa', ok: false, reason: 'UPSTREAM_MALFORMED' },
      { app_id: 'wxb', ok: false },
    ],
  });
  expect(apps[0].message).toMatch(/accepts its secret and this address.*get_api_domain_ip.*HTTP 404/);
  expect(output).toContain('2 of 2 apps do not work');
  expect(place.wechat.wechat.counts('wxa').classic).toBe(0);
});

it("a message that meets a dead token is sent with a new one, though no probe gets a verdict: its 40001 is WeChat's word", async () => {
  await using place = await sendingPlace();
  const { grpc } = await place.serve();
  await place.run('get', 'wxa', '--addr', grpc);
  blockProbes(place);
  place.wechat.wechat.kill('wxa', { issuer: 'classic', which: 'all' });
  const message = ['--app', 'wxa', '--to', 'u1', '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=a'];
  const { code, output } = await place.run('send', ...message, '--addr', grpc);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('sent') });
  expect(place.wechat.wechat.counts('wxa').classic).toBe(2);
});

it('SIGHUP tries a changed secret at once, and says in the log what WeChat says of it', async () => {
  await using place = await Place.make();
  await writeFile(join(place.folder, 'secret'), SECRET);
  const apps = [{ ...APPS[0], secret: { file: 'secret' } }, APPS[1]];
  await place.configure({ apps, refresh: { probe_interval: '0s' } });
  const { broker, grpc } = await place.serve();
  await place.run('get', 'wxa', '--addr', grpc);
  await writeFile(join(place.folder, 'secret'), 'wrong');
  broker.signal('SIGHUP');
  const refused = await broker.next('the refusal', ({ msg }) => msg === 'changed secret refused');
  expect(refused).toMatchObject({ level: 'error', app_id: 'wxa', reason: 'SECRET_INVALID', errcode: 40125 });
  const status = JSON.parse((await place.run('get', 'wxa', '--addr', grpc, '--json')).output).state;
  expect(status).toMatchObject({ status: 'TOKEN_STATUS_DEGRADED', statusReason: expect.stringContaining('AppSecret') });
  await writeFile(join(place.folder, 'secret'), SECRET);
  broker.signal('SIGHUP');
  await broker.next('the acceptance', ({ msg }) => msg === 'changed secret accepted');
  expect(place.wechat.wechat.counts('wxa').classic).toBe(1);
});
