import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { StoreError } from '../../src/store/errors.ts';
import { TcpProxy } from '../faults/proxy.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { RedisServer } from '../support/redis.ts';
import { storeContract } from './contract.ts';
import { ledgerContract } from './ledger-contract.ts';
import { FORM, form, NOW, send } from './ledger-support.ts';
import { MEMBER, openRedis, reconnection, SET_USER } from './redis-support.ts';
import { sharedStoreContract } from './shared-contract.ts';
import { record, token } from './support.ts';

const server = await RedisServer.start();
afterAll(() => server[Symbol.asyncDispose]());

await server.command(SET_USER);

let prefixes = 0;

/** A place that nobody else uses, for the user whom the manual makes. */
function newUrl(port = server.port): string {
  return `redis://lingpai:PASSWORD@127.0.0.1:${port}?prefix=lingpai:t${++prefixes}:`;
}

const open = (...args: Partial<Parameters<typeof openRedis>>) => openRedis(args[0] ?? newUrl(), args[1]);

storeContract('redis', async () => (await open()).store);
ledgerContract('redis', async () => {
  const { ledger, store } = await open();
  return { ledger, close: () => store.close() };
});
sharedStoreContract('redis', async () => {
  const url = newUrl();
  return async () => (await open(url)).shared;
});

describe('owners of sends', () => {
  test('a message that its owner is sending names it, until that has died', async () => {
    const { ledger, store } = await open();
    onTestFinished(() => store.close());
    await ledger.deposit('wx1', [form('a'), form('b')]);
    const mine = send({ key: 'mine', owner: 'r1', permit: FORM });
    await ledger.begin(mine);
    await ledger.begin(send({ key: 'theirs', owner: 'r2', permit: FORM }));
    expect(await ledger.begin(send({ key: 'mine' }))).toMatchObject({ kind: 'unsettled', owner: 'r1' });

    const query = { appId: 'wx1', key: 'theirs', digest: 'digest', now: NOW };
    expect(await ledger.lookup(query)).toMatchObject({ kind: 'unsettled', owner: 'r2' });

    expect(await ledger.recover(NOW, 'r1')).toBe(1);
    expect(await ledger.begin(send({ key: 'mine' }))).toMatchObject({ kind: 'unsettled', owner: '' });
    expect(await ledger.begin(send({ key: 'theirs' }))).toMatchObject({ kind: 'unsettled', owner: 'r2' });
    expect(await ledger.recover(NOW, 'r1')).toBe(0);
  });
});

describe('a server that fails', () => {
  test('is emptied by a restart, and the listener is told', async () => {
    await using own = await RedisServer.start();
    const { shared } = await open(own.url());
    onTestFinished(() => shared.close());
    const reconnected = reconnection((listener) => shared.listen(listener));
    await shared.replace(record(), null, '1.a');
    await own.kill();
    await expect(shared.poll(MEMBER, 0)).rejects.toBeInstanceOf(StoreError);
    await own.launch();
    await reconnected;
    expect(await shared.poll(MEMBER, 7)).toMatchObject({ position: 0, changed: [] });
    expect(await shared.replace(record(), null, '1.b')).toMatchObject({ stored: true });
  });

  test('that does not answer is given up within a second, and used again when it does', async () => {
    await using own = await RedisServer.start();
    const clock = new FakeClock();
    const { shared } = await open(own.url(), { clock });
    onTestFinished(() => shared.close());
    const reconnected = reconnection((listener) => shared.listen(listener));
    own.pause();
    const refusal = shared.poll(MEMBER, 0).catch((error) => error);
    await clock.advance(999);
    expect(await Promise.race([refusal, 'waiting'])).toBe('waiting');
    await clock.advance(1);
    expect(await Promise.race([refusal, 'waiting'])).toMatchObject({
      message: expect.stringMatching(/no answer in time/),
    });
    await expect(shared.poll(MEMBER, 0)).rejects.toBeInstanceOf(StoreError);
    own.resume();
    await clock.advance(100);
    await reconnected;
    expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
  });

  test('that takes a connection and never answers its handshake is asked again on another one', async () => {
    await using proxy = await TcpProxy.before(() => server.port);
    const clock = new FakeClock();
    const { shared } = await open(newUrl(proxy.port), { clock });
    onTestFinished(() => shared.close());
    const reconnected = reconnection((listener) => shared.listen(listener));
    const { promise: bothAreSwallowed, resolve } = Promise.withResolvers<void>();
    const swallowed = new Set();
    proxy.rule = (_chunk, _direction, link) => {
      if (swallowed.add(link).size === 2) resolve();
      return 'drop';
    };
    proxy.cut();
    await bothAreSwallowed;
    await expect(shared.poll(MEMBER, 0)).rejects.toThrow(/closed the connection/);

    proxy.rule = () => 'pass';
    await clock.advance(6_000);
    await reconnected;
    expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
  });

  test('that became a replica is looked up again under its name, which leads to the new primary', async () => {
    await using old = await RedisServer.start();
    const nobody = '127.0.0.1 1'; // neither copies the other: it would answer LOADING meanwhile
    await using promoted = await RedisServer.start(['--replicaof', nobody]);
    let primary = old;
    await using name = await TcpProxy.before(() => primary.port);
    const { shared } = await open(`redis://127.0.0.1:${name.port}`);
    onTestFinished(() => shared.close());
    const reconnected = reconnection((listener) => shared.listen(listener));
    await promoted.command('REPLICAOF NO ONE');
    await old.command(`REPLICAOF ${nobody}`);
    primary = promoted;
    await expect(shared.poll(MEMBER, 0)).rejects.toThrow(/is a replica/);
    await reconnected;
    expect(await shared.replace(record(), null, '1.a')).toMatchObject({ stored: true });
  });

  test('that does not answer leaves nothing behind once the store is closed', async () => {
    await using own = await RedisServer.start();
    const clock = new FakeClock();
    const { shared } = await open(own.url(), { clock });
    own.pause();
    await clock.advance(5_000);
    expect(clock.pending).toBe(1); // the end of the wait for an answer to whether it lives
    await shared.close();
    await settle();
    expect(clock.pending).toBe(0);
  });

  test('that ends the connection for hints gives each of them once on the next one', async () => {
    await using own = await RedisServer.start();
    const { shared } = await open(own.url());
    onTestFinished(() => shared.close());
    const heard: string[] = [];
    const { promise: hasHeardLast, resolve } = Promise.withResolvers<void>();
    const changed = (appId: string) => {
      heard.push(appId);
      if (appId === 'last') resolve();
    };
    shared.listen({ changed, reconnected: () => undefined });
    await own.command('CLIENT KILL TYPE pubsub');
    const publish = (appId: string) => own.command(`PUBLISH lingpai:changed ${appId}`);
    while (!(await publish('first')).startsWith(':1'));
    await publish('second');
    await publish('last');
    await hasHeardLast;
    expect(heard).toEqual(['first', 'second', 'last']);
  });

  test('that is there again and does not accept the password is said to do that', async () => {
    await using own = await RedisServer.start(['--requirepass', 'hunter2']);
    const { shared } = await open(own.url().replace('//', '//:hunter2@'));
    onTestFinished(() => shared.close());
    await own.command('AUTH hunter2\r\nCONFIG SET requirepass swordfish\r\nCLIENT KILL TYPE normal SKIPME yes');
    let message = '';
    while (!message.includes('password')) {
      await own.command('PING');
      message = await shared.poll(MEMBER, 0).then(
        () => '',
        (error) => error.message,
      );
    }
    expect(message).toMatch(/does not accept the user or the password. Correct store.url \(WRONGPASS\)/);
  });

  test('that forgets its scripts is told them again', async () => {
    await using own = await RedisServer.start();
    const { shared } = await open(own.url());
    onTestFinished(() => shared.close());
    await shared.poll(MEMBER, 0);
    const other = await open(own.url());
    onTestFinished(() => other.store.close());
    await own.command('SCRIPT FLUSH');
    expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
  });
});

describe('a server that cannot be used is refused', () => {
  test.each([
    ['without its password', ['--requirepass', 'hunter2'], '', /wants a password/],
    ['with a wrong password', ['--requirepass', 'hunter2'], ':swordfish@', /does not accept the user or the password/],
    ['as part of a cluster', ['--cluster-enabled', 'yes'], '', /part of a Redis Cluster/],
    ['as a replica', ['--replicaof', '127.0.0.1 1'], '', /is a replica/],
    ['without such a database', ['--databases', '2'], '', /no database of this number/, '/2'],
    ['as a sentinel', ['--sentinel'], '', /is a sentinel/],
  ])('%s', async (_, options, user, words, db = '') => {
    await using own = await RedisServer.start(options);
    const error = await open(`redis://${user}127.0.0.1:${own.port}${db}`).catch((reason) => reason);
    expect(error).toBeInstanceOf(StoreError);
    expect(error.message).toMatch(words);
    expect(error.message).toContain(`127.0.0.1:${own.port}`);
    expect(error.message).not.toMatch(/hunter2|swordfish/);
  });

  test('where nothing listens', async () => {
    const own = await RedisServer.start();
    await own[Symbol.asyncDispose]();
    await expect(open(own.url())).rejects.toThrow(/nothing listens there/);
  });

  test('and with the right password it is not', async () => {
    await using own = await RedisServer.start(['--requirepass', 'p@ss']);
    const { shared } = await open(`redis://:p%40ss@127.0.0.1:${own.port}/1`);
    onTestFinished(() => shared.close());
    expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
  });
});

test('a record that is no record is left out, told of, and replaced', async () => {
  const damages: Error[] = [];
  const url = newUrl();
  const { shared, store } = await open(url, { damages });
  onTestFinished(() => store.close());
  await shared.replace(record({ current: token('secret-token') }), null, '1.a');
  await server.command(`HSET lingpai:t${prefixes}:apps wx0001 secret-token`);
  expect(await shared.poll(MEMBER, 0)).toMatchObject({ changed: [] });
  expect(damages.map((error) => error.message).join()).toMatch(/record of app wx0001 is damaged/);
  expect(damages.join()).not.toContain('secret-token');
  await expect(store.load()).rejects.toThrow(/damaged/);
  expect(await shared.replace(record(), '1.a', '2.a')).toMatchObject({ stored: true });
  expect((await shared.read(['wx0001'])).records).toEqual([{ app: record(), etag: '2.a' }]);
});
