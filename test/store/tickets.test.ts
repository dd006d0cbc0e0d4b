import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import type { StoredTicket } from '../../src/core/tickets/ports.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { copyStore } from '../../src/store/copy.ts';
import { Keyring, keyOf } from '../../src/store/keyring.ts';
import { type Opened, openStore, parseStoreUrl, recordsOf } from '../../src/store/open.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { newKeyText } from '../../src/store/seal-key.ts';
import { RedisServer } from '../support/redis.ts';
import { expectStoreError, newPath, record, TOKEN, token } from './support.ts';

const server = await RedisServer.start();
afterAll(() => server[Symbol.asyncDispose]());

const [K1, K2] = [newKeyText(), newKeyText()];
const [ID1, ID2] = [K1, K2].map((text) => Keyring.parse([text]).sealing) as [string, string];

let prefixes = 0;
const URLS = {
  memory: () => 'memory:',
  sqlite: () => `sqlite:${newPath()}`,
  redis: () => server.url(`?prefix=lingpai:t${++prefixes}:`),
} as const;
type Kind = keyof typeof URLS;
const LASTING: Exclude<Kind, 'memory'>[] = ['sqlite', 'redis'];

async function open(url: string, seal: readonly string[] = [], damages: Error[] = []): Promise<Opened> {
  const parsed = parseStoreUrl(url);
  if ('error' in parsed) throw new Error(parsed.error);
  const onDamage = (error: Error) => void damages.push(error);
  return await openStore(parsed, { clock: systemClock, random: Math.random, onDamage, keyring: Keyring.parse(seal) });
}

async function using<T>(url: string, seal: readonly string[], act: (opened: Opened) => Promise<T>): Promise<T> {
  const opened = await open(url, seal);
  try {
    return await act(opened);
  } finally {
    await opened.close();
  }
}

function ticket(change: Partial<StoredTicket> = {}): StoredTicket {
  return {
    appId: 'wx0001',
    type: 'jsapi',
    ticket: token(TOKEN),
    budget: { day: 20_468, mints: 3, forced: 0 },
    lastCallTime: 1_768_449_600_000.25,
    trouble: null,
    ...change,
  };
}

const TROUBLE = {
  failures: 2,
  time: 1_768_449_600_000,
  retryTime: 1_768_449_700_000,
  reason: 'DAILY_QUOTA_EXHAUSTED',
  message: 'spent',
  answer: { errcode: 45009, errmsg: 'reach max api daily quota limit', rid: '' },
} as const;

const sorted = (all: readonly StoredTicket[]) =>
  all.toSorted((a, b) => `${a.appId}/${a.type}`.localeCompare(`${b.appId}/${b.type}`));
const noPause = async () => undefined;

/** What is stored of a ticket. */
async function stored(url: string, { appId, type }: StoredTicket = ticket()): Promise<string> {
  const [scheme, path = ''] = url.split(/:(.*)/s);
  if (scheme === 'sqlite') {
    const db = new DatabaseSync(path, { readOnly: true });
    const row = db.prepare('SELECT record FROM ticket WHERE app_id = ? AND type = ?').get(appId, type);
    db.close();
    return String(row?.['record']);
  }
  const prefix = new URL(url).searchParams.get('prefix');
  return (await server.command(`HGET ${prefix}tickets ${appId}/${type}`)).split('\r\n')[1] ?? '';
}

/** Writes over what is stored of a ticket. */
async function overwrite(url: string, text: string, { appId, type }: StoredTicket = ticket()): Promise<void> {
  const [scheme, path = ''] = url.split(/:(.*)/s);
  if (scheme === 'sqlite') {
    const db = new DatabaseSync(path);
    db.prepare('INSERT OR REPLACE INTO ticket (app_id, type, record) VALUES (?, ?, ?)').run(appId, type, text);
    db.close();
    return;
  }
  const prefix = new URL(url).searchParams.get('prefix');
  await server.command(`HSET ${prefix}tickets ${appId}/${type} ${text}`);
}

describe.each(Object.keys(URLS) as Kind[])('%s: the contract of tickets', (kind) => {
  test('a new store has none', () =>
    using(URLS[kind](), [], async ({ tickets }) => {
      expect(await tickets.load()).toEqual([]);
      expect(await tickets.read(ticket())).toBeUndefined();
    }));

  test('what is saved comes back, of each app and type the last, beside the apps and apart from them', () =>
    using(URLS[kind](), [], async (opened) => {
      const { tickets } = opened;
      const all = [
        ticket({ trouble: TROUBLE }),
        ticket({ type: 'wx_card', ticket: null }),
        ticket({ appId: 'wx0002', lastCallTime: 0 }),
      ];
      await tickets.save(ticket({ ticket: null }));
      for (const each of all) await tickets.save(each);
      await recordsOf(opened).save(record());
      expect(sorted(await tickets.load())).toEqual(sorted(all));
      expect(await tickets.read({ appId: 'wx0001', type: 'wx_card' })).toEqual(all[1]);
      expect(await recordsOf(opened).load()).toEqual([record()]);
    }));
});

test('redis: one replica has a claim, until it gives it back or its time is over', async () => {
  const url = URLS.redis();
  const [one, two] = [await open(url), await open(url)];
  const card = ticket({ type: 'wx_card' });
  expect(await one.tickets.claim(ticket(), 'one', 10_000)).toBe(true);
  expect(await two.tickets.claim(ticket(), 'two', 10_000)).toBe(false);
  expect(await two.tickets.claim(card, 'two', 10_000)).toBe(true);
  await two.tickets.release(ticket(), 'two'); // it is not its own
  expect(await two.tickets.claim(ticket(), 'two', 10_000)).toBe(false);
  await one.tickets.release(ticket(), 'one');
  expect(await two.tickets.claim(ticket(), 'two', 1)).toBe(true);
  await expect.poll(() => one.tickets.claim(ticket(), 'one', 10_000)).toBe(true);
  await Promise.all([one.close(), two.close()]);
});

describe.each(LASTING)('%s: a sealed store', (kind) => {
  test('P18: holds no ticket in clear, and opens a record as itself alone', async () => {
    const url = URLS[kind]();
    const other = ticket({ type: 'wx_card' });
    await using(url, [K1], async ({ tickets }) => {
      await tickets.save(ticket());
      await tickets.save(other);
    });
    const text = await stored(url);
    expect(keyOf(text)).toBe(ID1);
    expect(text).not.toMatch(/token|jsapi|wx0001/);
    expect(() => Keyring.parse([K1]).open('wx0001', text, 'the store')).toThrow(/changed since/);
    await using(url, [K2, K1], async ({ tickets }) => expect(await tickets.read(ticket())).toEqual(ticket()));
    await overwrite(url, text, other);
    await using(url, [K1], async ({ tickets }) => await expect(tickets.read(other)).rejects.toThrow(/changed since/));
  });

  test('P18: of another key is refused, and nothing has changed', async () => {
    const url = URLS[kind]();
    await using(url, [K1], ({ tickets }) => tickets.save(ticket()));
    const before = await stored(url);
    const words = new RegExp(`1 record cannot be opened: is sealed by key ${ID1}\\. Held: ${ID2}\\.`);
    await expectStoreError(
      () => using(url, [K2], ({ tickets }) => tickets.load()),
      kind === 'sqlite' ? url.slice(7) : 'redis://',
      words,
    );
    await using(
      url,
      [K2],
      async ({ tickets }) => await expect(tickets.read(ticket())).rejects.toThrow(/sealed by key/),
    );
    expect(await stored(url)).toBe(before);
  });

  test('is sealed anew by another first key, more than a page of them', async () => {
    const url = URLS[kind]();
    const all = Array.from({ length: 45 }, (_, i) => ticket({ appId: `wx${i}`, type: i % 2 ? 'jsapi' : 'wx_card' }));
    await using(url, [K1], async (opened) => {
      for (const each of all) await opened.tickets.save(each);
      await recordsOf(opened).save(record());
    });
    const pass = await using(url, [K2, K1], ({ sealing }) => sealing.reseal(noPause));
    expect(pass).toMatchObject({ resealed: 46, key: ID2 });
    expect(pass.records.get(ID2)).toBe(46);
    expect(keyOf(await stored(url, all[7]))).toBe(ID2);
    await using(url, [K2], async ({ tickets }) => expect(sorted(await tickets.load())).toEqual(sorted(all)));
  });

  test('forgets what a lost key has sealed, and names its app once', async () => {
    const url = URLS[kind]();
    await using(url, [K1], async (opened) => {
      await recordsOf(opened).save(record());
      await opened.tickets.save(ticket());
      await opened.tickets.save(ticket({ type: 'wx_card' }));
    });
    await using(url, [K2], ({ tickets }) => tickets.save(ticket({ appId: 'wx0002' })));
    await using(url, [K2], async ({ sealing, tickets }) => {
      expect(await sealing.sealedAway()).toEqual(['wx0001']);
      expect(await sealing.forget(['wx0001'])).toEqual(['wx0001']);
      expect(await tickets.load()).toEqual([ticket({ appId: 'wx0002' })]);
    });
  });

  test('a record that is damaged is named, and shows nothing of itself', async () => {
    const url = URLS[kind]();
    await using(url, [], ({ tickets }) => tickets.save(ticket()));
    await overwrite(url, `{${TOKEN}`);
    const damages: Error[] = [];
    const opened = await open(url, [], damages);
    const words = /record of the jsapi ticket of app wx0001 is damaged/;
    if (kind === 'sqlite') await expectStoreError(() => opened.tickets.load(), url.slice(7), words);
    else {
      expect(await opened.tickets.load()).toEqual([]);
      expect(damages[0]?.message).toMatch(words);
      expect(damages[0]?.message).not.toContain(TOKEN);
    }
    await opened.close();
  });
});

test('sqlite: a file that holds a ticket of an older key is not taken for scrubbed', async () => {
  const url = URLS.sqlite();
  await using(url, [K1, 'plain'], ({ tickets }) => tickets.save(ticket()));
  await using(url, ['plain', K1], ({ tickets }) => tickets.save(ticket({ type: 'wx_card' })));
  await using(url, [K1, 'plain'], async () => undefined);
  const db = new DatabaseSync(url.slice(7), { readOnly: true });
  expect(db.prepare('SELECT key FROM scrubbed').all()).toEqual([]);
  db.close();
});

test('sqlite: a file of the schema before keeps its apps', async () => {
  const path = newPath();
  const db = new DatabaseSync(path);
  for (const migration of MIGRATIONS.slice(0, 4)) db.exec(migration);
  db.exec(`PRAGMA application_id = ${0x4c70_6169}; PRAGMA user_version = 4`);
  db.prepare('INSERT INTO app (app_id, record) VALUES (?, ?)').run('wx0001', JSON.stringify(record()));
  db.close();
  await using(`sqlite:${path}`, [], async (opened) => {
    expect(await recordsOf(opened).load()).toEqual([record()]);
    expect(await opened.tickets.load()).toEqual([]);
  });
});

describe.each([
  ['sqlite', 'redis'],
  ['redis', 'sqlite'],
] as const)('a copy from %s to %s', (from, to) => {
  test('takes tickets along, opens and seals them, and keeps of two the one that ends later', async () => {
    const [source, target] = [URLS[from](), URLS[to]()];
    const later = { ...token('later'), expireTime: token('').expireTime + 1_000 };
    await using(source, [K1], async (opened) => {
      await recordsOf(opened).save(record());
      await opened.tickets.save(ticket());
      await opened.tickets.save(ticket({ appId: 'wx0002', ticket: later }));
      await opened.tickets.save(ticket({ appId: 'wx0003' }));
    });
    await using(target, [K2], async (opened) => {
      await opened.tickets.save(ticket({ appId: 'wx0002' }));
      await opened.tickets.save(ticket({ appId: 'wx0003', ticket: later }));
    });
    const copied = await using(source, [K1], async (a) =>
      using(target, [K2], async (b) =>
        copyStore({ name: 'a', opened: a }, { name: 'b', opened: b }, { force: true, clock: systemClock }),
      ),
    );
    expect(copied.tickets).toEqual({ found: 3, copied: 2 });
    await using(target, [K2], async ({ tickets }) =>
      expect(sorted(await tickets.load())).toEqual([
        ticket(),
        ticket({ appId: 'wx0002', ticket: later }),
        ticket({ appId: 'wx0003', ticket: later }),
      ]),
    );
  });
});
