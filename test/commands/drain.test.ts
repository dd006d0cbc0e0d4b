import { afterAll, beforeAll, expect, it } from 'vitest';
import { RedisServer } from '../support/redis.ts';
import { until } from '../support/rpc.ts';
import { sendingPlace } from '../support/sending.ts';

const SECOND = 1_000;

let redis: RedisServer;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis[Symbol.asyncDispose]());

/**
 * A replica that was told to end when WeChat had a message of its: the token is refused, another is fetched, and the second
 * try is on its way.
 */
async function ending(prefix: string) {
  const store = { url: redis.url(`?prefix=${prefix}`) };
  const place = await sendingPlace({ store, cluster: { lease: '1s', poll: '100ms' } });
  const { wechat, faults } = place.wechat;
  const { broker, grpc } = await place.serve();
  await place.run('get', 'wxa', '--addr', grpc);
  wechat.kill('wxa', { issuer: 'classic', which: 'all', stuck: true });
  faults.inject({ effect: { kind: 'latency', ms: 2 * SECOND }, calls: ['message_subscribe'] });
  const message = ['--app', 'wxa', '--to', 'o1', '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=hi'];
  const send = place.lingpai('send', ...message, '--addr', grpc);
  const tries = () => wechat.calls.filter(({ kind }) => kind === 'message_subscribe').length;
  await until(() => tries() === 1);
  broker.signal('SIGTERM');
  await until(() => tries() === 2 || broker.exitCode !== undefined);
  return { place, broker, send };
}

/** How many replicas are on the list, and how many have messages that are not settled. */
async function left(prefix: string): Promise<{ members: number; open: number }> {
  const [members, open] = [await redis.command(`HKEYS ${prefix}members`), await redis.command(`KEYS ${prefix}open:*`)];
  const length = (answer: string) => Number(/^\*(\d+)/.exec(answer)?.[1]);
  return { members: length(members), open: length(open) };
}

it('a replica that ends sees a message through, with another token where it takes one, and then leaves', async () => {
  const { place, broker, send } = await ending('d1:');
  await using _ = place;
  expect(await left('d1:')).toEqual({ members: 1, open: 1 });
  // As a command does that takes effect and whose answer is lost.
  const [open = ''] = /d1:open:\S+/.exec(await redis.command('KEYS d1:open:*')) ?? [];
  await redis.command(`SADD ${open} d1:send:lost`);
  expect([await send.ended(), await broker.ended()]).toEqual([0, 0]);
  expect(place.wechat.wechat.messages('wxa').inbox.count('o1')).toBe(1);
  expect(await left('d1:')).toEqual({ members: 0, open: 0 });
});

it('P10: what a replica left that was killed while it ended is recovered by another', async () => {
  const { place, broker } = await ending('d2:');
  await using _ = place;
  broker.signal('SIGKILL');
  await broker.ended();
  expect(await left('d2:')).toEqual({ members: 1, open: 1 });
  const next = await place.serve();
  await next.broker.next('a recovery', ({ msg }) => String(msg).endsWith('messages of unknown fate'));
  expect((await left('d2:')).open).toBe(0);
});
