import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { explainRedis, PERMISSIONS } from '../../src/store/redis/errors.ts';
import { RedisServer } from '../support/redis.ts';
import { form, send } from './ledger-support.ts';
import { MEMBER, openRedis, SET_USER } from './redis-support.ts';
import { record } from './support.ts';

const server = await RedisServer.start();
afterAll(() => server[Symbol.asyncDispose]());

const DENIED = /does not allow this user what Lingpai needs: .*ACL SETUSER \(NOPERM\)/;

/** A user whom the manual makes, but for these rules more, and where it finds the server. */
async function user(more = ''): Promise<string> {
  await server.command('ACL DELUSER lingpai');
  expect(await server.command(`${SET_USER} ${more}`)).toContain('+OK');
  return `redis://lingpai:PASSWORD@127.0.0.1:${server.port}`;
}

describe('the user whom the manual makes', () => {
  // The contracts are kept as this user, too: redis.test.ts.
  test('may copy a store, and hears of changes', async () => {
    const url = await user();
    const { shared, store, tickets, ledger, rows, sealing } = await openRedis(`${url}/1`);
    onTestFinished(() => store.close());
    const heard = new Promise<string>((resolve) => shared.listen({ changed: resolve, reconnected: () => undefined }));
    await shared.replace(record(), null, '1.a');
    expect(await heard).toBe('wx0001');
    await shared.poll(MEMBER, 0);
    await ledger.deposit('wx1', [form('a')]);
    await ledger.begin(send({ key: 'k' }));

    const key = { appId: 'wx1', type: 'jsapi' } as const;
    const budget = { day: 0, mints: 1, forced: 0 };
    const ticket = { ...key, ticket: null, budget, lastCallTime: 0, trouble: null };
    expect(await tickets.claim(key, 'r1', 1_000)).toBe(true);
    await tickets.save(ticket);
    await tickets.release(key, 'r1');
    expect(await tickets.read(key)).toEqual(ticket);
    expect(await sealing.reseal(async () => undefined)).toMatchObject({ records: new Map([['plain', 2]]) });

    const other = await openRedis(`${url}/2`);
    onTestFinished(() => other.store.close());
    for await (const some of rows.dump()) await other.rows.restore(some);
    for (const app of await store.load()) await other.store.save(app);
    expect((await rows.users()).size).toBe(1);
    expect(await other.store.load()).toEqual([record()]);
    await shared.remove(MEMBER.replica);
  });

  test('is what the error asks for', () => {
    expect(SET_USER).toMatch(/ ~lingpai:\* &lingpai:\* /);
    expect(SET_USER.endsWith(PERMISSIONS)).toBe(true);
  });
});

test('P12: a password where none is set is told as such, and not shown', async () => {
  const opening = openRedis(`redis://:hunter2@127.0.0.1:${server.port}`);
  await expect(opening).rejects.toThrow(
    `redis://127.0.0.1:${server.port} has no password, and store.url gives one. Write redis://HOST in store.url`,
  );
  await expect(opening).rejects.not.toThrow('hunter2');
  const older = explainRedis(new Error('ERR Client sent AUTH, but no password is set'), 'redis://cache');
  expect(older.message).toMatch(/ has no password, /);
});

describe('what a user may not do is told as such', () => {
  test.each(['resetchannels', '-subscribe', '-info', '-client|setname'])(
    'when the store is opened: %s',
    async (rule) => {
      await expect(openRedis(await user(rule))).rejects.toThrow(DENIED);
    },
  );

  test.each(['resetkeys ~other:*', '-hset', '-publish', '-eval -evalsha'])('when it is written: %s', async (rule) => {
    const { store } = await openRedis(await user(rule));
    onTestFinished(() => store.close());
    await expect(store.save(record())).rejects.toThrow(DENIED);
  });

  test.each([
    "NOPERM this user has no permissions to run the 'ping' command",
    "ERR The user executing the script can't run this command or subcommand script: 25, on @user_script:1.",
    "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments script: 2",
    "ERR The user executing the script can't publish to the channel mentioned in the command script: 08",
    "ERR ACL failure in script: User lingpai has no permissions to run the 'hset' command script: 25",
  ])('in the words of every Redis: %s', (words) => {
    expect(explainRedis(new Error(words), 'redis://cache').message).toMatch(DENIED);
  });
});
