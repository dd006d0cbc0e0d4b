import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Child } from '../support/child.ts';
import { Place } from '../support/lingpai.ts';

const anyPort = (flag: string) => [flag, '127.0.0.1:0'];

it('the demo needs nothing, serves two apps, and ends on Ctrl-C', async () => {
  await using place = await Place.make();
  const demo = place.lingpai('demo', ...['--grpc', '--http', '--gateway', '--sandbox'].flatMap(anyPort));
  const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
  for (const app of ['wxdemoclassic', 'wxdemostable']) {
    const { output } = await place.run('get', app, '--addr', String(ready['grpc']), '--json');
    expect(JSON.parse(output)).toMatchObject({ state: { status: 'TOKEN_STATUS_FRESH' } });
  }
  expect(ready['access']).toBe('local');
  demo.signal('SIGINT');
  expect(await demo.ended()).toBe(0);
  for (const what of ['lingpai -- watch', 'lingpai -- send', `${ready['sandbox']}/sandbox/inbox`]) {
    expect(demo.output).toContain(what);
  }
});

it('the demo serves beyond loopback where that is asked for, and says that access is open', async () => {
  await using place = await Place.make();
  const demo = place.lingpai('demo', '--grpc', '0.0.0.0:0', ...['--http', '--gateway', '--sandbox'].flatMap(anyPort));
  const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
  expect(ready['access']).toBe('open');
  expect(String(ready['grpc'])).toMatch(/^0\.0\.0\.0:/);
  expect(demo.lines.map(({ msg }) => msg)).toContain('listening beyond loopback without access control');
});

it('a consent that is deposited with the broker of the demo is one that its WeChat knows', async () => {
  await using place = await Place.make();
  const demo = place.lingpai('demo', ...['--grpc', '--http', '--gateway', '--sandbox'].flatMap(anyPort));
  const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
  const consent = { toUser: 'openid-1', kind: 'PERMIT_KIND_CONSENT', templateId: 't1', value: 'c1' };
  await writeFile(join(place.folder, 'permits.ndjson'), JSON.stringify(consent));
  const addr = ['--addr', String(ready['grpc'])];
  const deposit = () => place.run('permits', 'wxdemostable', '--deposit', 'permits.ndjson', ...addr);
  expect((await deposit()).output).toContain('1 deposited, 0 known already');
  expect((await deposit()).output).toContain('0 deposited, 1 known already');
  const message = ['--to', 'openid-1', '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=hello'];
  const send = () => place.run('send', '--app', 'wxdemostable', ...message, ...addr);
  expect(await send()).toMatchObject({ code: 0 });
  expect(await send()).toMatchObject({ code: 1, output: expect.stringContaining('CONSENT_MISSING') });
  const inbox = (await (await fetch(`${ready['sandbox']}/sandbox/inbox`)).json()) as { delivered: number };
  expect(inbox.delivered).toBe(1);
});

it.each(['SIGTERM', 'SIGINT'] as const)('%s to npm ends what it runs', async (signal) => {
  const args = [
    'run',
    '-s',
    'lingpai',
    '--',
    'demo',
    ...['--grpc', '--http', '--gateway', '--sandbox'].flatMap(anyPort),
  ];
  await using npm = new Child({ name: 'npm', command: ['npm', ...args], cwd: join(import.meta.dirname, '../..') });
  await npm.next('"ready"', (line) => line.msg === 'ready');
  npm.signal(signal);
  expect(await npm.ended()).toBe(0);
  expect(npm.lines.at(-1)?.msg).toBe('stopped');
});

it('start serves lingpai.yaml where there is one', async () => {
  await using place = await Place.make();
  await place.configure();
  const start = place.lingpai('start');
  const ready = await start.next('"ready"', (line) => line.msg === 'ready');
  expect(ready['apps']).toBe(2);
  const flags = await place.run('start', '--grpc', '127.0.0.1:0');
  expect(flags).toEqual({
    code: 2,
    output: expect.stringContaining(`--grpc: for the demo, and there is ${place.folder}/lingpai.yaml, which is served`),
  });
});

it('a path is looked for where npm was called, and told whole', async () => {
  const folder = join(import.meta.dirname, '../../docs');
  const args = ['run', '-s', 'lingpai', '--', 'send', '--file', 'nowhere.ndjson'];
  await using npm = new Child({ name: 'npm', command: ['npm', ...args], cwd: folder });
  expect(await npm.ended()).toBe(2);
  expect(npm.output).toContain(`--file ${folder}/nowhere.ndjson cannot be read: it does not exist`);
});

it('a taken port is named, with what to do in the words of the demo', async () => {
  await using place = await Place.make();
  const address = new URL(place.wechat.url).host;
  const { code, output } = await place.run('demo', '--sandbox', address);
  expect(code).toBe(1);
  expect(output).toContain(address);
  expect(output).toContain('--sandbox 127.0.0.1:0');
  const broker = await place.run('demo', '--grpc', address, '--http', '127.0.0.1:0', '--sandbox', '127.0.0.1:0');
  expect(broker.code).toBe(1);
  expect(broker.output).toMatch(/another port in --grpc .*npm start -- --grpc 127\.0\.0\.1:0/);
  expect(broker.output).not.toContain('grpc.listen');
});
