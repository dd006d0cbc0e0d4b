import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { APPS, Place, SECRET } from '../support/lingpai.ts';

it('serves, answers on both ports, drains on SIGTERM and exits with 0', async () => {
  await using place = await Place.make();
  await place.configure();
  const { broker, grpc, http } = await place.serve();
  expect(grpc).toMatch(/^127\.0\.0\.1:\d+$/);
  const got = await place.runProcess('get', 'wxa', '--addr', grpc, '--json');
  expect(JSON.parse(got.output)).toMatchObject({ state: { appId: 'wxa', status: 'TOKEN_STATUS_FRESH' } });
  await place.run('get', 'wxb', '--addr', grpc);
  const ready = await fetch(`http://${http}/readyz?apps`);
  expect([ready.status, await ready.json()]).toEqual([200, { ready: true, serving: true, apps: [] }]);
  expect(await (await fetch(`http://${http}/metrics`)).text()).toContain('lingpai_token_generation');
  broker.signal('SIGTERM');
  expect(await broker.ended()).toBe(0);
  expect(broker.lines.at(-1)?.msg).toBe('stopped');
});

it('P10: after kill -9, a new broker serves the same token without a call to WeChat', async () => {
  await using place = await Place.make();
  await place.configure({ refresh: { probe_interval: '0s' } });
  const first = await place.serve();
  const before = await place.run('get', 'wxa', '--addr', first.grpc, '--json', '--show-token');
  await place.run('get', 'wxb', '--addr', first.grpc);
  first.broker.signal('SIGKILL');
  await first.broker.ended();
  const calls = place.wechat.wechat.calls.length;
  const second = await place.serve();
  const after = await place.run('get', 'wxa', '--addr', second.grpc, '--json', '--show-token');
  const kept = ({ output }: { output: string }) => {
    const { generation, current, status } = JSON.parse(output).state;
    return { generation, current, status };
  };
  expect(kept(after)).toEqual(kept(before));
  expect(place.wechat.wechat.calls.length).toBe(calls);
});

it('P12: no secret and no token value is in its output, whatever goes wrong; the store is private', async () => {
  await using place = await Place.make();
  await place.configure({ refresh: { cooldown: '0s' } });
  const { broker, grpc, http } = await place.serve();
  const values = new Set<string>();
  const { wechat, faults } = place.wechat;
  for (const effect of [undefined, 'html', 'truncated', 'empty', 'reset'] as const) {
    if (effect) faults.inject({ effect: { kind: effect, status: 502, takesEffect: true }, count: 3 });
    await place.run('refresh', 'wxa', '--addr', grpc);
    faults.clear();
    const got = await place.run('get', 'wxa', '--addr', grpc, '--json', '--show-token');
    values.add(JSON.parse(got.output).state.current.value);
  }
  wechat.setApp({ appId: 'wxa', secret: 'another' });
  await place.run('refresh', 'wxa', '--addr', grpc);
  const metrics = await (await fetch(`http://${http}/metrics`)).text();
  broker.signal('SIGTERM');
  await broker.ended();
  const output = broker.output + metrics;
  expect(output).toContain('SECRET_INVALID');
  for (const value of [...values, SECRET]) expect(output.includes(value)).toBe(false);
  expect((await stat(join(place.folder, 'lingpai.db'))).mode & 0o777).toBe(0o600);
});

it('names every problem of its configuration and exits with 2', async () => {
  await using place = await Place.make();
  const path = await place.configure({ grpc: { listen: 7600 }, refesh: {}, apps: [{ app_id: 'wx a', secret: {} }] });
  const { code, output } = await place.runProcess('serve');
  expect(code).toBe(2);
  for (const where of ['grpc.listen', 'refesh', 'apps[0].app_id', 'apps[0].secret']) expect(output).toContain(where);
  expect(output).toContain('lingpai.yaml:');
  const missing = await place.run('serve', '--config', `${path}.not`);
  expect(missing.code).toBe(2);
  expect(missing.output).toContain('examples/lingpai.yaml');
});

it('says which port is taken, and which store is in use, and exits with 1', async () => {
  await using place = await Place.make();
  await place.configure();
  const { grpc } = await place.serve();
  const second = await place.runProcess('serve');
  expect(second.code).toBe(1);
  expect(second.output).toContain('lingpai.db is in use');
  await place.configure({ grpc: { listen: grpc }, store: { url: 'memory:' } });
  const third = await place.run('serve');
  expect(third.code).toBe(1);
  expect(third.output).toContain(grpc);
  expect(third.output).not.toContain('    at ');
});

it('reloads apps on SIGHUP, and when a secret file changes', async () => {
  await using place = await Place.make();
  const secretFile = join(place.folder, 'secret');
  await writeFile(secretFile, 'wrong');
  const apps = [...APPS, { app_id: 'wxnew', secret: { file: 'secret' } }];
  await place.configure();
  const { broker, grpc } = await place.serve();
  await place.configure({ apps });
  broker.signal('SIGHUP');
  await broker.next('"refresh failed"', (line) => line.msg === 'refresh failed' && line['app_id'] === 'wxnew');
  await writeFile(secretFile, `${SECRET}\n`);
  await broker.next('"token rotated"', (line) => line.msg === 'token rotated' && line['app_id'] === 'wxnew');
  expect((await place.run('get', 'wxnew', '--addr', grpc)).code).toBe(0);
});

it('a file that cannot be used changes nothing; what needs a restart is named', async () => {
  await using place = await Place.make();
  const path = await place.configure();
  const { broker, grpc } = await place.serve();
  await writeFile(path, 'apps: [');
  broker.signal('SIGHUP');
  const line = await broker.next('the refusal', ({ msg }) => String(msg).startsWith('configuration not reloaded'));
  expect(line['problems']).toHaveLength(1);
  expect((await place.run('get', 'wxa', '--addr', grpc)).code).toBe(0);
  await place.configure({ watch: { heartbeat: '3s' } });
  broker.signal('SIGHUP');
  const warning = await broker.next('the warning', ({ msg }) => msg === 'changed settings need a restart');
  expect(warning['settings']).toEqual(['watch.heartbeat']);
});

it('keeps what it has where the key file is lost, or the new configuration would not be served', async () => {
  await using place = await Place.make();
  const keys = join(place.folder, 'lingpai.keys');
  const access = { keys: 'lingpai.keys', rules: [{ who: ['*'], may: ['read'], apps: ['*'] }] };
  await place.configure({ access });
  const { broker } = await place.serve();
  const lines = (text: string) => (line: { msg?: unknown }) => String(line.msg).startsWith(text);
  expect(JSON.stringify(broker.lines)).toContain('the file does not exist yet; make the first key');
  // It is looked for, though it was not there.
  await writeFile(`${keys}.new`, '# no key\n');
  await rename(`${keys}.new`, keys);
  await broker.next('the reload', lines('configuration reloaded'));
  await rm(keys);
  broker.signal('SIGHUP');
  const lost = await broker.next('the loss', lines('the key file is gone, and its keys stay in use'));
  expect(lost).toMatchObject({ level: 'error', file: keys });

  await writeFile(keys, '# no key\n');
  await place.configure({ access: undefined, http: { listen: '0.0.0.0:0' } });
  broker.signal('SIGHUP');
  await broker.next('the refusal', ({ problems }) =>
    JSON.stringify(problems ?? []).includes('"access","message":"is missing'),
  );
});

it('serves beyond loopback only when it is said who may call, and says how callers are treated', async () => {
  await using place = await Place.make();
  const http = { listen: '0.0.0.0:0' };
  const refused = async (settings: object, ...told: string[]) => {
    await place.configure({ http, ...settings });
    const { code, output } = await place.run('serve');
    expect(code).toBe(2);
    for (const text of told) expect(output).toContain(text);
    expect(output).not.toContain('"ready"');
  };
  const rules = { rules: [{ who: ['*'], may: ['read'], apps: ['*'] }] };
  await refused({}, ' access: is missing, and http.listen is beyond loopback; write who', '"access: open"');
  await refused({ access: rules }, ' tls: is missing, and http.listen is beyond loopback', '"tls: off"');

  await place.configure({ http });
  const { code, output } = await place.runProcess('serve');
  expect(code).toBe(2);
  expect(output).toContain('lingpai: the configuration cannot be used');

  await place.configure({ http, access: 'open' });
  const { broker } = await place.serve();
  const said = broker.lines.map(({ msg, access, listen }) => ({ msg, access, listen }));
  const warning = 'listening beyond loopback without access control';
  expect(said).toContainEqual({ msg: warning, listen: '0.0.0.0:0' });
  expect(said).toContainEqual({ msg: 'ready', access: 'open' });
});

it('is local on loopback, where nothing is said', async () => {
  await using place = await Place.make();
  await place.configure();
  const { broker } = await place.serve();
  expect(broker.lines.find(({ msg }) => msg === 'ready')?.['access']).toBe('local');
  expect(broker.lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)).not.toContain(
    'listening beyond loopback without access control',
  );
});

it('warns at each start that calls WeChat without TLS beyond loopback', async () => {
  const said = async (baseUrl: string) => {
    await using place = await Place.make();
    await place.configure({ upstream: { base_url: baseUrl } });
    const { broker } = await place.serve();
    return broker.lines.find(({ msg }) => msg === 'AppSecrets and tokens leave this machine unencrypted')?.['base_url'];
  };
  expect(await said('http://wechat.invalid')).toBe('http://wechat.invalid');
  expect(await said('https://wechat.invalid')).toBeUndefined();
  expect(await said('http://127.0.0.1:1')).toBeUndefined();
});
