import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Child } from '../support/child.ts';
import { Place } from '../support/lingpai.ts';

const anyPort = (flag: string) => [flag, '127.0.0.1:0'];

it('the demo needs nothing, serves two apps, and ends on Ctrl-C', async () => {
  await using place = await Place.make();
  const demo = place.lingpai('demo', ...['--grpc', '--http', '--sandbox'].flatMap(anyPort));
  const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
  for (const app of ['wxdemoclassic', 'wxdemostable']) {
    const { output } = await place.run('get', app, '--addr', String(ready['grpc']), '--json');
    expect(JSON.parse(output)).toMatchObject({ state: { status: 'TOKEN_STATUS_FRESH' } });
  }
  demo.signal('SIGINT');
  expect(await demo.ended()).toBe(0);
  for (const what of ['lingpai -- watch', 'lingpai -- send', `${ready['sandbox']}/sandbox/inbox`]) {
    expect(demo.output).toContain(what);
  }
});

it.each(['SIGTERM', 'SIGINT'] as const)('%s to npm ends what it runs', async (signal) => {
  const args = ['run', '-s', 'lingpai', '--', 'demo', ...['--grpc', '--http', '--sandbox'].flatMap(anyPort)];
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
