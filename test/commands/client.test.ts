import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { fakeBroker } from '../support/command.ts';
import { Place } from '../support/lingpai.ts';

describe('the commands that call a broker', () => {
  let place: Place;
  let grpc: string;
  beforeAll(async () => {
    place = await Place.make();
    await place.configure({ refresh: { cooldown: '0s', probe_interval: '0s' }, watch: { heartbeat: '1s' } });
    ({ grpc } = await place.serve());
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it('get prints a state for people, and masks the value unless told not to', async () => {
    const { code, output } = await place.run('get', 'wxa', '--addr', grpc);
    expect(code).toBe(0);
    expect(output).toMatch(/status +FRESH/);
    expect(output).toContain('(hidden)');
    const shown = JSON.parse((await place.run('get', 'wxa', '--addr', grpc, '--json', '--show-token')).output);
    expect(place.wechat.wechat.honours('wxa', shown.state.current.value)).toBe(true);
    expect(output).not.toContain(shown.state.current.value);
    expect((await place.run('get', 'wxa', '--addr', grpc, '--json')).output).not.toContain(shown.state.current.value);
  });

  it('refresh tells what became of it', async () => {
    const { state } = JSON.parse((await place.run('get', 'wxb', '--addr', grpc, '--json', '--show-token')).output);
    const still = await place.run('refresh', 'wxb', '--addr', grpc, '--rejected-generation', state.generation);
    expect(still.output).toContain('STILL_VALID');
    const fresh = await place.run('refresh', 'wxb', '--addr', grpc, '--json');
    expect(JSON.parse(fresh.output)).toMatchObject({
      outcome: 'REFRESHED',
      state: { previous: { id: state.current.id } },
    });
    const old = await place.run('refresh', 'wxb', '--addr', grpc, '--rejected-generation', state.generation);
    expect(old.output).toContain('ALREADY_NEWER');
  });

  it('an error says what is wrong, with exit code 1 and as JSON where asked', async () => {
    const { code, output } = await place.run('get', 'nope', '--addr', grpc, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(output.slice(0, output.indexOf('\n')))).toMatchObject({
      error: { code: 'NotFound', reason: 'APP_NOT_FOUND', metadata: { app_id: 'nope' } },
    });
    const nobody = await place.run('get', 'wxa', '--addr', '127.0.0.1:1');
    expect(nobody.output).toContain('Is a broker running at 127.0.0.1:1?');
    expect(nobody.code).toBe(1);
  });

  it('watch prints each change, ends on an unknown app, and on Ctrl-C with 0', async () => {
    const watch = place.lingpai('watch', 'wxa', '--addr', grpc, '--json');
    const first = await watch.next('a state', (line) => line.event === 'state');
    await place.run('refresh', 'wxa', '--addr', grpc);
    const second = await watch.next('a state', (line) => line.event === 'state');
    const generation = (line: typeof first) => Number((line['state'] as { generation: string }).generation);
    expect(generation(second)).toBeGreaterThan(generation(first));
    watch.signal('SIGINT');
    expect(await watch.ended()).toBe(0);
    const unknown = await place.run('watch', 'nope', '--addr', grpc);
    expect(unknown.code).toBe(1);
    expect(unknown.output).toContain('APP_NOT_FOUND');
  });

  it('watch asks seldom where its key is refused, and never stops', async () => {
    await using other = await fakeBroker((router) => {
      router.service(TokenService, {
        // biome-ignore lint/correctness/useYield: it is refused at once
        async *watchToken() {
          throw new ConnectError('no such key', Code.Unauthenticated);
        },
      });
    });
    const watch = place.lingpai('watch', 'wxa', '--addr', other.addr, '--json');
    const { error, pauseMs } = await watch.next('a refusal', (line) => line.event === 'reconnecting');
    expect(error).toMatchObject({ code: 'Unauthenticated', message: 'no such key' });
    expect(pauseMs).toBeGreaterThanOrEqual(30_000);
    watch.signal('SIGINT');
    expect(await watch.ended()).toBe(0);
  });

  it('watch follows the broker across a restart', async () => {
    await using other = await Place.make();
    await other.configure();
    const first = await other.serve();
    const watch = other.lingpai('watch', 'wxa', '--addr', first.grpc, '--json');
    await watch.next('a state', (line) => line.event === 'state');
    first.broker.signal('SIGTERM');
    await watch.next('a goaway', (line) => line.event === 'goaway');
    await first.broker.ended();
    await other.configure({ grpc: { listen: first.grpc } });
    await other.serve();
    // It knows the token already: what it gets is a heartbeat.
    await watch.next('a heartbeat', (line) => line.event === 'heartbeat');
  });

  it.each([
    [['get'], "missing required argument 'APP'"],
    [['get', 'wxa', '--addr', 'nonsense'], 'write HOST:PORT'],
    [['get', 'wxa', '--min-generation', 'x'], 'whole number'],
    [['refresh', 'wxa', '--rejected-generation', '1', '--rejected-token-stdin'], 'not both'],
    [['serve', '--log-level', 'loud'], 'write one of debug'],
    [['sandbox', '--listen', '7690'], 'write HOST:PORT'],
    [['nonsense'], 'unknown command'],
    [['get', 'wxa', '--nonsense'], 'unknown option'],
  ])('%j is wrong usage: exit code 2', async (args, words) => {
    const { code, output } = await place.run(...args);
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
  });

  it('the process ends with the same exit code and says the same', async () => {
    const wrong = ['get', 'wxa', '--nonsense'];
    expect(await place.runProcess(...wrong)).toEqual(await place.run(...wrong));
    const unknown = ['get', 'nope', '--addr', grpc];
    expect(await place.runProcess(...unknown)).toEqual(await place.run(...unknown));
    expect(await place.run(...unknown)).toMatchObject({ code: 1 });
  });

  it('--help explains each command', async () => {
    const { code, output } = await place.run('--help');
    expect(code).toBe(0);
    for (const command of [
      'serve',
      'sandbox',
      'demo',
      'get',
      'watch',
      'status',
      'refresh',
      'send',
      'permits',
      'review',
      'check',
      'store',
    ]) {
      expect(output).toContain(command);
      expect((await place.run(command, '--help')).code).toBe(0);
    }
  });
});

describe('check', () => {
  it.each([
    ['redis://h:1,i:2', /several servers cannot be named/],
    ['redis+sentinel://h', /sentinels and Redis Cluster are not supported/],
    ['redis://:hunter2@h:99999', /this is not a URL/],
    ['unix:/run/redis', /"redis:\/\/HOST" for one that several replicas share/],
  ])('finds what is wrong with the address %s of a store, and serve says the same', async (url, words) => {
    await using place = await Place.make();
    await place.configure({ store: { url }, watch: { heartbeat: 10 } });
    for (const command of ['check', 'serve']) {
      const { code, output } = await place.run(command);
      expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(words) });
      expect(output).toMatch(/store\.url.*watch\.heartbeat/s);
      expect(output.match(/store\.url/g)).toHaveLength(1);
      expect(output).not.toContain('hunter2');
    }
  });

  it('finds every problem of a file, and none in the example', async () => {
    await using place = await Place.make();
    await place.configure({ store: { url: 'postgres:' }, watch: { heartbeat: 10 } });
    const { code, output } = await place.run('check', '--json');
    expect(code).toBe(2);
    const { problems } = JSON.parse(output.slice(0, output.indexOf('\n')));
    expect(problems.map((problem: { path: string }) => problem.path)).toEqual(['store.url', 'watch.heartbeat']);
    const example = await readFile(join(import.meta.dirname, '../../examples/lingpai.yaml'), 'utf8');
    await writeFile(join(place.folder, 'lingpai.yaml'), example.replace('{ file: secrets/official-account }', 'x'));
    const child = place.lingpaiWith({ WX_MINI_SECRET: 'x' }, 'check');
    expect([await child.ended(), child.output]).toEqual([0, `${place.folder}/lingpai.yaml is well-formed: 2 apps\n`]);
  });

  it('--online asks WeChat without disturbing a token, and says in words what is wrong', async () => {
    await using place = await Place.make();
    const path = await place.configure();
    expect(await place.run('check', '--config', path, '--online')).toMatchObject({ code: 0 });
    expect(place.wechat.wechat.counts('wxa')).toMatchObject({ classic: 0, stable: 1 });
    place.wechat.wechat.changeApp('wxa', { allowList: ['192.0.2.1'] });
    place.wechat.wechat.changeApp('wxb', { condition: 'confirmation_required' });
    const { code, output } = await place.run('check', '--online');
    expect(code).toBe(1);
    expect(output).toMatch(/FAIL wxa: .*127\.0\.0\.1/);
    expect(output).toMatch(/FAIL wxb: .*administrator/);
    expect(output).toMatch(/rid \w{8}-/);
  });
});
