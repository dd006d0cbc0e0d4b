import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { NOTHING_SHARED } from '../../src/core/cluster/shared-part.ts';
import type { Ledger } from '../../src/core/messages/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { copyStore, join, ownable, type Side, shareable } from '../../src/store/copy.ts';
import { openDatabase, openMemory } from '../../src/store/database.ts';
import { openStore, parseStoreUrl, recordsOf, storeIn } from '../../src/store/open.ts';
import type { PermitRow, User } from '../../src/store/rows.ts';
import { FakeClock } from '../support/clock.ts';
import { RedisServer } from '../support/redis.ts';
import {
  CONSENT,
  consent,
  DAY,
  FORM,
  form,
  NOW,
  OPENID,
  payment,
  REFUSED,
  SENT,
  send,
  settlement,
  UNKNOWN,
} from './ledger-support.ts';
import { newPath, record, token } from './support.ts';

const server = await RedisServer.start();
afterAll(() => server[Symbol.asyncDispose]());
let prefixes = 0;

const OPEN = {
  memory: async () => storeIn(openMemory(), 'memory:'),
  sqlite: async () => {
    const path = newPath();
    return storeIn(openDatabase(path), path);
  },
  redis: async () => {
    const url = parseStoreUrl(server.url(`?prefix=c${++prefixes}:`));
    if ('error' in url) throw new Error(url.error);
    return await openStore(url, {
      clock: systemClock,
      random: Math.random,
      onDamage: (error) => expect.fail(error.message),
    });
  },
};
type Kind = keyof typeof OPEN;

async function side(kind: Kind): Promise<Side> {
  const opened = await OPEN[kind]();
  onTestFinished(() => opened.close());
  return { name: `the ${kind} store`, opened };
}

const copy = (from: Side, to: Side, force = false) => copyStore(from, to, { force, clock: systemClock });

const APPS = [record(), record({ appId: 'wx0002', issuer: 'classic', previous: token('before'), openMints: 0 })];
const KEYS = ['sent', 'refused', 'unknown', 'begun', 'spent'];

/** A store in which something of each kind has happened; its process has died. */
async function fill({ opened }: Side): Promise<void> {
  for (const app of APPS) await recordsOf(opened).save(app);
  const { ledger } = opened;
  const later = (i: number) => ({ collectTime: NOW - 1_000_000 + i, expireTime: NOW + 5 * DAY + i });
  await ledger.deposit('wx1', [
    ...Array.from({ length: 700 }, (_, i) => form(`f${i}`, { ...later(i), toUser: i < 12 ? OPENID : `other-${i}` })),
    payment('p1', { ...later(800), toUser: 'payer: with colons' }),
    consent('c1'),
    consent('c2', { collectTime: NOW - 1 }),
  ]);
  const one = async (key: string, ends?: () => ReturnType<typeof settlement>, permit: object = FORM) => {
    const begun = send({ sendId: `id of ${key || Math.random()}`, key, permit: permit as typeof FORM });
    await ledger.begin(begun);
    if (ends) await ledger.settle(begun.sendId, ends());
  };
  await one('sent', () => settlement(SENT));
  await one('refused', () => settlement(REFUSED));
  await one('unknown', () => settlement(UNKNOWN, 'held'));
  await one('begun');
  await one('spent', () => settlement(SENT), { kind: 'named', value: 'p1' });
  await one(''); // nobody has a key to it
  await one('note', () => settlement(UNKNOWN, 'returned'), { kind: 'named', value: 'noted' });
  await one('consented', () => settlement(SENT), CONSENT);
  await ledger.begin(send({ key: 'other app', appId: 'wx2' }));
}

/** What a ledger answers from now on. */
async function answers(ledger: Ledger): Promise<unknown[]> {
  const said: unknown[] = [];
  for (const key of KEYS) said.push(await ledger.begin(send({ key, permit: FORM })));
  for (const key of KEYS) said.push((await ledger.begin(send({ key, digest: 'another' }))).kind);
  for (const user of [undefined, OPENID, 'payer: with colons']) said.push(await ledger.count('wx1', user, NOW));
  for (const permit of [form('f0'), form('noted'), payment('p1')]) said.push(await ledger.deposit('wx1', [permit]));
  for (const limit of [8, 9, 10]) said.push((await ledger.begin(send({ quota: { day: 20_468, limit } }))).kind);
  for (let i = 0; i < 12; i++) said.push(await ledger.begin(send({ permit: FORM })));
  for (const permit of [CONSENT, CONSENT]) said.push(await ledger.begin(send({ permit })));
  // What was held is returned when its fate is known.
  await ledger.settle('id of unknown', settlement({ kind: 'freed' }));
  said.push(await ledger.begin(send({ permit: FORM })));
  said.push((await ledger.purge(NOW + 2 * DAY)).keys);
  return said;
}

describe.each<[Kind, Kind]>([
  ['memory', 'sqlite'],
  ['sqlite', 'sqlite'],
  ['sqlite', 'redis'],
  ['redis', 'sqlite'],
  ['redis', 'redis'],
])('a copy from %s to %s', (a, b) => {
  test('answers as the original does after a restart', async () => {
    const [from, to] = [await side(a), await side(b)];
    await fill(from);
    const copied = await copy(from, to);
    expect(copied.apps).toEqual({ found: 2, copied: 2 });
    expect(copied.permits.copied).toBe(704);
    expect(copied.keys.copied).toBe(8);
    expect(copied.counts).toEqual({ found: 2, copied: 2 });
    const byId = (apps: readonly StoredApp[]) => apps.toSorted((x, y) => (x.appId < y.appId ? -1 : 1));
    expect(byId(await recordsOf(to.opened).load())).toEqual(byId(APPS));
    await from.opened.ledger.recover(NOW, '');
    expect(await answers(to.opened.ledger)).toEqual(await answers(from.opened.ledger));
  });

  test('can be made again, and changes nothing then', async () => {
    const [from, to, once] = [await side(a), await side(b), await side(b)];
    await fill(from);
    await copy(from, to);
    await copy(from, once);
    const again = await copy(from, to, true);
    for (const { copied } of Object.values(again)) expect(copied).toBe(0);
    expect(await answers(to.opened.ledger)).toEqual(await answers(once.opened.ledger));
  });

  test('undoes nothing that happened on either side since the last', async () => {
    const [from, to] = [await side(a), await side(b)];
    await fill(from);
    const here = from.opened.ledger;
    await here.deposit('wx1', [payment('p2', { toUser: 'two' })]);
    await here.begin(send({ sendId: 'id of paid', key: 'paid', permit: { kind: 'named', value: 'p2' } }));
    await here.settle('id of paid', settlement(UNKNOWN, 'held'));
    await copy(from, to);
    await here.settle('id of paid', settlement(SENT));
    await here.settle('id of unknown', settlement(SENT));
    await here.begin(send({ sendId: 'new', key: 'new', permit: { kind: 'named', value: 'f700' } }));
    await here.settle('new', settlement(SENT));
    const there = to.opened.ledger;
    await there.begin(send({ sendId: 'theirs', permit: { kind: 'named', value: 'f11' } }));
    await there.settle('theirs', settlement(SENT));
    await there.settle('id of begun', settlement(REFUSED, 'spent'));
    await copy(from, to, true);
    const key = async (key: string) => await there.begin(send({ key }));
    expect(await key('unknown')).toEqual({ kind: 'settled', outcome: SENT });
    expect(await key('new')).toEqual({ kind: 'settled', outcome: SENT });
    expect(await key('begun')).toEqual({ kind: 'settled', outcome: REFUSED });
    expect(await there.count('wx1', 'two', NOW)).toMatchObject([{ messages: 2 }]);
    // Of the user's 12 forms four messages used one each: one before the copies, one known here, two there.
    const left = await there.count('wx1', OPENID, NOW);
    expect(left.find(({ kind }) => kind === 'form_id')?.messages).toBe(12 - 4);
    expect(await there.begin(send({ permit: { kind: 'named', value: 'f11' } }))).toMatchObject({ permit: null });
  });

  test('refuses a store that has apps, unless told to, and never lowers a generation', async () => {
    const [from, to] = [await side(a), await side(b)];
    const { generation } = record();
    await recordsOf(from.opened).save(record({ budget: { day: 20_468, mints: 9, forced: 0 } }));
    await recordsOf(from.opened).save(record({ appId: 'wx0002', generation: generation + 1, current: token('newer') }));
    await recordsOf(to.opened).save(record({ generation: generation + 7, current: token('newest') }));
    await recordsOf(to.opened).save(record({ appId: 'wx0002' }));
    await expect(copy(from, to)).rejects.toThrow(/has 2 apps already.*--force/);
    const before = new Map((await recordsOf(to.opened).load()).map((app) => [app.appId, app]));
    expect(before.get('wx0002')?.generation).toBe(generation);
    await copy(from, to, true);
    const after = new Map((await recordsOf(to.opened).load()).map((app) => [app.appId, app]));
    expect(after.get('wx0001')).toMatchObject({
      generation: generation + 7,
      current: { value: 'newest' },
      budget: { mints: 9, forced: 1 },
    });
    expect(after.get('wx0002')).toMatchObject({ generation: generation + 1, current: { value: 'newer' } });
  });

  test('that is broken off leaves no apps, and is made whole by another', async () => {
    const [from, to] = [await side(a), await side(b)];
    await fill(from);
    let calls = 0;
    const { rows } = to.opened;
    const failing = {
      dump: () => rows.dump(),
      users: () => rows.users(),
      restore: async (some: Parameters<typeof rows.restore>[0]) => {
        if (++calls > 2) throw new Error('broken off');
        return await rows.restore(some);
      },
    };
    await expect(copy(from, { ...to, opened: { ...to.opened, rows: failing } })).rejects.toThrow('broken off');
    expect(await recordsOf(to.opened).load()).toEqual([]);
    await copy(from, to);
    await from.opened.ledger.recover(NOW, '');
    expect(await answers(to.opened.ledger)).toEqual(await answers(from.opened.ledger));
  });
});

describe.each<Kind>(['sqlite', 'redis'])('permits in %s', (kind) => {
  const payer = (uses: number, change: Partial<PermitRow> = {}): PermitRow => ({
    row: 'permit',
    appId: 'wx1',
    kind: 'prepay_id',
    value: 'p1',
    toUser: OPENID,
    templateId: '',
    collectTime: NOW,
    expireTime: NOW + DAY,
    uses,
    doubtful: false,
    ...change,
  });

  test.each<[string, PermitRow[]]>([
    ['the more used one first', [payer(1), payer(3), payer(2)]],
    ['and last', [payer(3), payer(2), payer(1)]],
    ['one that nobody deposited', [payer(0, { toUser: '', doubtful: true }), payer(1), payer(3)]],
    ['a doubtful one', [payer(1), payer(3, { doubtful: true })]],
  ])('that are restored at once are joined: %s', async (_, permits) => {
    const { opened } = await side(kind);
    await Promise.all(permits.map((permit) => opened.rows.restore([permit])));
    expect(await opened.ledger.count('wx1', OPENID, NOW)).toMatchObject([{ messages: 1 }]);
    const begun = await opened.ledger.begin(send({ permit: FORM }));
    const isDoubtful = permits.some(({ doubtful }) => doubtful);
    expect(begun).toMatchObject({ permit: { value: 'p1', ...(isDoubtful && { doubtful: true }) } });
  });
});

test('a store that has nothing is not copied: its address may be wrong', async () => {
  const [from, to] = [await side('memory'), await side('memory')];
  await expect(copy(from, to)).rejects.toThrow(/has no apps: there is nothing to copy. Look at its address/);
});

describe('a store that is in use', () => {
  const user = (beat: number, pauseMs = 2_000) => ({ sign: `beat ${beat}`, pauseMs });
  test.each([
    [{ r1: user(1) }, { r1: user(2) }, 5_000, 'is in use by r1. Stop'],
    [{ r1: user(1), r2: user(1) }, { r1: user(2), r2: user(2) }, 5_000, 'is in use by r1, r2. Stop'],
    [{ r1: user(1) }, { r1: user(1), r2: user(1) }, 5_000, 'is in use by r2'],
    [{ r1: user(1) }, { r1: user(1) }, 5_000, undefined],
    [{ r1: user(1) }, {}, 5_000, undefined],
    [{ r1: user(1), r2: user(1, 10_000) }, { r1: user(1), r2: user(2, 10_000) }, 21_000, 'is in use by r2'],
  ])('%j, then %j %d ms later: %s', async (before, after, lookMs, words) => {
    const [from, to] = [await side('memory'), await side('memory')];
    await recordsOf(from.opened).save(record());
    const clock = new FakeClock();
    let seen: Record<string, User> = before;
    const { rows } = to.opened;
    const users = async () => new Map(Object.entries(seen));
    const watched = { dump: () => rows.dump(), restore: (some: []) => rows.restore(some), users };
    const copied = copyStore(from, { ...to, opened: { ...to.opened, rows: watched } }, { force: false, clock });
    const ended = words ? expect(copied).rejects.toThrow(words) : expect(copied).resolves.toBeDefined();
    await clock.advance(lookMs - 1);
    seen = after as Record<string, User>;
    await clock.advance(1);
    await ended;
  });

  test('Redis tells who was there last, and how often each shows itself', async () => {
    const { opened } = await side('redis');
    const store = 'shared' in opened ? opened.shared : expect.fail('not shared');
    const poll = (beat: number) => store.poll({ replica: 'r1', beat, address: 'h:1', pollMs: 250 }, 0);
    await poll(1);
    await store.poll({ replica: 'silent', beat: 1, address: 'h:2' }, 0);
    const before = await opened.rows.users();
    await poll(2);
    const pauses = [...before].map(([name, { pauseMs }]) => [name, pauseMs]);
    expect(Object.fromEntries(pauses)).toEqual({ r1: 250, silent: 60_000 });
    expect((await opened.rows.users()).get('r1')?.sign).not.toBe(before.get('r1')?.sign);
  });
});

describe('records', () => {
  test('mints of unknown fate become intents among replicas, and the other way round', () => {
    expect(shareable(record())).toEqual(record());
    const shared = shareable(record({ openMints: 2, lastMintTime: 5 }));
    const intent = { replica: '', time: 5, orphaned: true };
    expect(shared).toEqual(
      record({
        openMints: 2,
        lastMintTime: 5,
        shared: {
          ...NOTHING_SHARED,
          epoch: 2,
          intents: [
            { ...intent, epoch: 1 },
            { ...intent, epoch: 2 },
          ],
        },
      }),
    );
    expect(ownable(shared)).toEqual(record({ openMints: 2, lastMintTime: 5 }));
  });

  test.each([
    [{}, 0],
    [{ pendingConfirmation: { epoch: 1, time: 5 } }, 1],
    [{ dead: true }, 1],
    [{ warning: 'why', commitTime: 7 }, 0],
  ])('%j makes %i open mints where one process owns the store', (part, openMints) => {
    expect(ownable(record({ shared: { ...NOTHING_SHARED, ...part } }))).toEqual(record({ openMints }));
  });

  test('of two of one generation the more doubtful stays, and of budgets the later day', () => {
    const doubtful = record({ openMints: 1, budget: { day: 20_469, mints: 1, forced: 0 } });
    const joined = { ...doubtful, lastMintTime: record().lastMintTime };
    expect(join(record(), doubtful)).toEqual(joined);
    expect(join(doubtful, record())).toEqual(joined);
  });

  test('epochs go on from the greater', () => {
    const there = record({ generation: 9, shared: { ...NOTHING_SHARED, epoch: 3 } });
    const here = record({ generation: 8, shared: { ...NOTHING_SHARED, epoch: 7 } });
    expect(join(there, here).shared?.epoch).toBe(7);
  });
});
