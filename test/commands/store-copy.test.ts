import { afterAll, beforeAll, expect, it } from 'vitest';
import { Place } from '../support/lingpai.ts';
import { RedisServer } from '../support/redis.ts';

let place: Place;
let redis: RedisServer;
beforeAll(async () => {
  [place, redis] = [await Place.make(), await RedisServer.start()];
});
afterAll(async () => {
  await place[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const settings = { refresh: { probe_interval: '0s' } };

/** Serves from a store, has `act` done, and stops. */
async function serving<T>(url: string, act: (addr: string[]) => Promise<T>): Promise<T> {
  await place.configure({ ...settings, store: { url } });
  const { broker, grpc } = await place.serve();
  try {
    return await act(['--addr', grpc]);
  } finally {
    broker.signal('SIGTERM');
    await broker.ended();
  }
}

const token = async (addr: string[], app: string) => {
  const { output } = await place.run('get', app, ...addr, '--json', '--show-token');
  const { generation, current } = JSON.parse(output).state;
  return { generation, current };
};
const ticket = async (addr: string[]) => {
  const { output } = await place.run('ticket', 'wxa', ...addr, '--json', '--show-token');
  return JSON.parse(output).ticket;
};
const tokens = async (addr: string[]) => [await token(addr, 'wxa'), await token(addr, 'wxb'), await ticket(addr)];

it('moves a broker from sqlite to Redis and back: the same tokens and ticket, no mint, no message twice', async () => {
  const message = ['send', '--app', 'wxa', '--to', 'o1', '--template', 't1', '--channel', 'official_account'];
  const send = (addr: string[]) => place.run(...message, '--data', 'first=hi', '--key', 'k1', '--json', ...addr);
  const url = redis.url('/3?prefix=moved:');
  const [before, first] = await serving('sqlite:lingpai.db', async (addr) => [await tokens(addr), await send(addr)]);
  expect(JSON.parse(first.output)).toMatchObject({ messageId: expect.any(String) });
  const calls = place.wechat.wechat.calls.length;

  const there = await place.run('store', 'copy', '--from', 'sqlite:lingpai.db', '--to', url);
  expect(there).toEqual({
    code: 0,
    output:
      'apps              2 copied\ntickets           1 copied\npermits           0 copied\nidempotency keys  1 copied\ndaily counts      1 copied\n',
  });
  const replay = { messageId: JSON.parse(first.output).messageId, replayed: true };
  await serving(url, async (addr) => {
    expect(await tokens(addr)).toEqual(before);
    expect(JSON.parse((await send(addr)).output)).toMatchObject(replay);
  });

  const back = await place.run('store', 'copy', '--from', url, '--to', 'sqlite:back.db', '--json');
  expect(JSON.parse(back.output)).toMatchObject({ apps: { found: 2, copied: 2 }, keys: { found: 1, copied: 1 } });
  await serving('sqlite:back.db', async (addr) => {
    expect(await tokens(addr)).toEqual(before);
    expect(JSON.parse((await send(addr)).output)).toMatchObject(replay);
  });
  expect(place.wechat.wechat.calls.length).toBe(calls);

  const again = await place.run('store', 'copy', '--from', 'sqlite:lingpai.db', '--to', url);
  expect(again).toMatchObject({ code: 1, output: expect.stringContaining('has 2 apps already. With --force') });
  const forced = await place.run('store', 'copy', '--from', 'sqlite:lingpai.db', '--to', url, '--force');
  expect(forced).toMatchObject({
    code: 0,
    output: expect.stringContaining('apps              0 copied, 2 were there'),
  });
});

it('a store that a broker uses is left alone, sqlite or Redis', async () => {
  await serving('sqlite:used.db', async () => {
    const { code, output } = await place.run('store', 'copy', '--from', 'sqlite:used.db', '--to', 'sqlite:new.db');
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining('in use by another process') });
  });
  await serving(redis.url('?prefix=used:'), async () => {
    const args = ['--from', redis.url('?prefix=used:'), '--to', 'sqlite:new.db', '--json'];
    const { code, output } = await place.run('store', 'copy', ...args);
    expect(code).toBe(1);
    expect(output).toMatch(/prefix used:\): replicas have left their names; looking for 5 s/);
    const answer = output.split('\n').find((line) => line.startsWith('{')) ?? '';
    const { error } = JSON.parse(answer);
    expect(error.message).toMatch(/prefix used:\) is in use by .*Stop every broker/);
  });
});

it.each([
  [['--from', 'sqlite:nowhere.db', '--to', 'sqlite:x.db'], 'there is no file FOLDER/nowhere.db'],
  [['--from', 'memory:', '--to', 'sqlite:x.db'], '--from: "memory:" is empty'],
  [['--from', 'redis://h', '--to', 'redis://:hunter2@h:6379'], 'are the same store'],
  [['--from', 'postgres://h', '--to', 'sqlite:x.db'], '--from: this is not the address of a store'],
  [['--to', 'sqlite:x.db'], "required option '--from <URL>' not specified"],
  [['--from', 'sqlite:x.db', '--to', './x.db', '--sideways'], 'unknown option'],
  [['--from', 'sqlite:lingpai.db', '--to', 'sqlite:./lingpai.db'], 'are the same store'],
])('%j is wrong usage: exit code 2', async (args, words) => {
  const { code, output } = await place.run('store', 'copy', ...args);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words.replace('FOLDER', place.folder)) });
  expect(output).not.toContain('hunter2');
});

it('what is wrong with a server is told of the flag that names it', async () => {
  const { code, output } = await place.run('store', 'copy', '--from', redis.url('/99'), '--to', 'sqlite:x.db');
  expect({ code, output }).toEqual({
    code: 1,
    output: expect.stringMatching(/no database of this number.*Correct --from/),
  });
});

it('takes both from the environment, where a password is not seen', async () => {
  const env = { LINGPAI_STORE_FROM: 'sqlite:nowhere.db', LINGPAI_STORE_TO: 'sqlite:x.db' };
  const child = place.lingpaiWith(env, 'store', 'copy');
  expect([await child.ended(), child.output]).toEqual([2, expect.stringContaining('nowhere.db')]);
});
