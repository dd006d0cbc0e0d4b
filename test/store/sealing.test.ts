import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { copyStore } from '../../src/store/copy.ts';
import { openMemory } from '../../src/store/database.ts';
import { GroupCommit } from '../../src/store/group-commit.ts';
import { Keyring, keyOf } from '../../src/store/keyring.ts';
import { type Opened, openStore, parseStoreUrl, recordsOf } from '../../src/store/open.ts';
import type { RawRecord, RawRecords } from '../../src/store/raw-records.ts';
import { openRedis } from '../../src/store/redis/open.ts';
import { newKeyText } from '../../src/store/seal-key.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { SqliteRawRecords } from '../../src/store/sqlite-raw-records.ts';
import { RedisServer } from '../support/redis.ts';
import { storeContract } from './contract.ts';
import { MEMBER } from './redis-support.ts';
import { sharedStoreContract } from './shared-contract.ts';
import { expectStoreError, newPath, record, TOKEN, token } from './support.ts';

const server = await RedisServer.start();
afterAll(() => server[Symbol.asyncDispose]());

const [K1, K2] = [newKeyText(), newKeyText()];
const [ID1, ID2] = [K1, K2].map((text) => Keyring.parse([text]).sealing) as [string, string];

let prefixes = 0;
const URLS = {
  sqlite: () => `sqlite:${newPath()}`,
  redis: () => server.url(`?prefix=lingpai:s${++prefixes}:`),
} as const;
type Kind = keyof typeof URLS;
const KINDS = Object.keys(URLS) as Kind[];

async function open(url: string, seal: readonly string[], { damages = [] as Error[] } = {}): Promise<Opened> {
  const parsed = parseStoreUrl(url);
  if ('error' in parsed) throw new Error(parsed.error);
  const onDamage = (error: Error) => void damages.push(error);
  return await openStore(parsed, {
    clock: systemClock,
    random: Math.random,
    onDamage,
    keyring: Keyring.parse(seal),
  });
}

/** Has something done with a store that is then closed. */
async function using<T>(url: string, seal: readonly string[], act: (opened: Opened) => Promise<T>): Promise<T> {
  const opened = await open(url, seal);
  try {
    return await act(opened);
  } finally {
    await opened.close();
  }
}

const load = (url: string, seal: readonly string[]) => using(url, seal, (opened) => recordsOf(opened).load());
const save = (url: string, seal: readonly string[], ...apps: StoredApp[]) =>
  using(url, seal, async (opened) => {
    for (const app of apps) await recordsOf(opened).save(app);
  });
const noPause = async () => undefined;
const reseal = (url: string, seal: readonly string[]) => using(url, seal, ({ sealing }) => sealing.reseal(noPause));

/** What is stored of an app. */
async function stored(url: string, appId = 'wx0001'): Promise<string> {
  const [scheme, path = ''] = url.split(/:(.*)/s);
  if (scheme === 'sqlite') {
    const db = new DatabaseSync(path, { readOnly: true });
    const text = db.prepare('SELECT record FROM app WHERE app_id = ?').get(appId)?.['record'];
    db.close();
    return String(text);
  }
  const prefix = new URL(url).searchParams.get('prefix');
  return (await server.command(`HGET ${prefix}apps ${appId}`)).split('\r\n')[1] ?? '';
}

/** The text of what is stored, without Redis' etag. */
const textOf = async (url: string, appId?: string) => (await stored(url, appId)).replace(/^\d+\.[^\n]*\n/, '');

for (const seal of [[K1], [K1, 'plain'], ['plain', K1]]) {
  const name = seal.map((text) => (text === 'plain' ? text : 'key')).join(', ');
  for (const kind of KINDS)
    storeContract(`${kind} with [${name}]`, async () => recordsOf(await open(URLS[kind](), seal)));
}

// Replicas of two steps of a rotation on one store: what one seals the other opens.
for (const [step, first, second] of [
  ['with [plain, key] and with [key, plain]', ['plain', K1], [K1, 'plain']],
  ['with [key, plain] and with [key]', [K1, 'plain'], [K1]],
  ['with [old, new] and with [new, old]', [K1, K2], [K2, K1]],
] as const) {
  sharedStoreContract(`redis, by replicas ${step}`, async () => {
    const url = URLS.redis();
    let replicas = 0;
    return async () => {
      const opened = await open(url, replicas++ % 2 === 0 ? first : second);
      if (!('shared' in opened)) throw new Error('not shared');
      return opened.shared;
    };
  });
}

describe.each(KINDS)('%s: a sealed store', (kind) => {
  test('holds no token in clear, nor anything else of a record (P18)', async () => {
    const url = URLS[kind]();
    await save(url, [K1], record({ previous: token('another-token') }));
    const text = await textOf(url);
    expect(keyOf(text)).toBe(ID1);
    expect(text).not.toMatch(/token|generation|stable/);
    expect(await load(url, [K2, K1])).toEqual([record({ previous: token('another-token') })]);
  });

  test('of another key is refused: it names the keys wanted and held, and nothing has changed (P18)', async () => {
    const url = URLS[kind]();
    await save(url, [K1], record({ appId: 'wx1' }), record({ appId: 'wx2' }));
    const before = [await stored(url, 'wx1'), await stored(url, 'wx2')];
    for (const [seal, held] of [
      [[K2, 'plain'], `${ID2}, plain`],
      [[], 'plain'],
    ] as const) {
      const words = new RegExp(
        `2 records cannot be opened: are sealed by key ${ID1}\\. Held: ${held}\\. .*store forget --sealed`,
      );
      await expectStoreError(() => load(url, seal), kind === 'sqlite' ? url.slice(7) : 'redis://', words);
      const left = await using(url, seal, ({ sealing }) => sealing.reseal(noPause));
      expect(left).toMatchObject({ resealed: 0, scrub: undefined });
      expect(left.records.get('other')).toBe(2);
    }
    expect([await stored(url, 'wx1'), await stored(url, 'wx2')]).toEqual(before);
    expect(await load(url, [K1])).toHaveLength(2);
  });

  test('takes no plain record unless plain is in its list', async () => {
    const url = URLS[kind]();
    await save(url, [], record());
    await expect(load(url, [K1])).rejects.toThrow(
      /1 record cannot be opened: is not sealed, and plain is not in store\.seal/,
    );
    expect(await load(url, [K1, 'plain'])).toEqual([record()]);
  });

  test('takes no record of another app, though the key is the right one', async () => {
    const url = URLS[kind]();
    await save(url, [K1], record({ appId: 'wx1' }), record({ appId: 'wx2' }));
    const text = await textOf(url, 'wx1');
    if (kind === 'sqlite') {
      const db = new DatabaseSync(url.slice(7));
      db.prepare("UPDATE app SET record = ? WHERE app_id = 'wx2'").run(text);
      db.close();
    } else {
      const prefix = new URL(url).searchParams.get('prefix');
      await server.command(
        `EVAL "redis.call('HSET',KEYS[1],'wx2',ARGV[1]..string.char(10)..ARGV[2])" 1 ${prefix}apps 9.x ${text}`,
      );
    }
    await expect(load(url, [K1])).rejects.toThrow(
      /1 record cannot be opened: is sealed by key [0-9a-f]{12}, and changed since/,
    );
  });

  test('is sealed anew, record by record, and never over one that was changed meanwhile', async () => {
    const url = URLS[kind]();
    const apps = Array.from({ length: 50 }, (_, i) => record({ appId: `wx${i}`, generation: i }));
    await save(url, [], ...apps);
    await using(url, [K1, 'plain'], async (opened) => {
      const saves = apps.map((app) => recordsOf(opened).save({ ...app, generation: app.generation + 1_000 }));
      await Promise.all([opened.sealing.reseal(noPause), ...saves]);
      const pass = await opened.sealing.reseal(noPause);
      expect(pass.records).toEqual(
        new Map([
          [ID1, 50],
          ['plain', 0],
        ]),
      );
    });
    const after = await load(url, [K1]);
    expect(after.map(({ generation }) => generation).toSorted((x, y) => x - y)).toEqual(
      apps.map(({ generation }) => generation + 1_000),
    );
    expect(await reseal(url, [K1])).toMatchObject({ resealed: 0 });
    expect((await reseal(url, [K2, K1])).records).toEqual(
      new Map([
        [ID2, 50],
        [ID1, 0],
      ]),
    );
    expect(await load(url, [K2])).toHaveLength(50);
  });

  test('loses no seal to a replica that is restarted a step behind', async () => {
    const url = URLS[kind]();
    await save(url, [K1, 'plain'], record(), record({ appId: 'wx0002' }));
    const pass = await reseal(url, ['plain', K1]);
    expect([pass.resealed, [...pass.records]]).toEqual([
      0,
      [
        ['plain', 0],
        [ID1, 2],
      ],
    ]);
    expect(await load(url, [K1])).toHaveLength(2);
    // What it writes itself is plain, until the others seal it.
    await save(url, ['plain', K1], record({ generation: 2_000 }));
    expect((await reseal(url, [K1, 'plain'])).resealed).toBe(1);
    expect(await load(url, [K1])).toHaveLength(2);
  });

  test('forgets only what no held key opens, and no record that is not sealed', async () => {
    const url = URLS[kind]();
    await save(url, [K1], record({ appId: 'wx1' }));
    await save(url, [K2], record({ appId: 'wx2' }));
    await save(url, [], record({ appId: 'wx3' }));
    await using(url, [K2], async ({ sealing }) => {
      expect(await sealing.sealedAway()).toEqual(['wx1']);
      expect(await sealing.forget(['wx1', 'wx2', 'wx3'])).toEqual(['wx1']);
      expect(await sealing.sealedAway()).toEqual([]);
    });
    const left = await load(url, [K2, 'plain']);
    expect(left.map(({ appId }) => appId).toSorted()).toEqual(['wx2', 'wx3']);
  });
});

describe.each(KINDS)('%s: a record as it is stored', (kind) => {
  /** The records of a store with one app in it, as they are stored, and what changes that app. */
  async function raw(): Promise<{ records: RawRecords; save: (app: StoredApp) => Promise<void> }> {
    if (kind === 'sqlite') {
      const commits = new GroupCommit(openMemory(), 'memory:');
      const store = new SqliteStore(commits, Keyring.plain);
      onTestFinished(() => store.close());
      return { records: new SqliteRawRecords(commits, 'plain'), save: (app) => store.save(app) };
    }
    const url = parseStoreUrl(URLS.redis());
    if (!('kind' in url) || url.kind !== 'redis') throw new Error('not redis');
    const deps = { clock: systemClock, random: Math.random, onDamage: () => undefined, keyring: Keyring.plain };
    const { store, raw: records } = await openRedis(url, deps);
    onTestFinished(() => store.close());
    return { records, save: (app) => store.save(app) };
  }

  const only = async (records: RawRecords): Promise<RawRecord> => {
    for await (const [first] of records.pages()) if (first) return first;
    return expect.fail('there is none');
  };

  test('is neither swapped nor removed once it is another one', async () => {
    const { records, save } = await raw();
    await save(record());
    const before = await only(records);
    await save(record({ generation: 2 }));
    expect(await records.swap(before, 'another')).toBe(false);
    expect(await records.remove(before)).toBe(false);
    const after = await only(records);
    expect(after.text).toContain('"generation":2,');
    expect(await records.swap(after, 'another')).toBe(true);
    const swapped = await only(records);
    expect(swapped.text).toBe('another');
    expect(await records.remove(swapped)).toBe(true);
    await expect(only(records)).rejects.toThrow('there is none');
  });
});

describe('redis: a replica with a wrong key', () => {
  const shared = async (url: string, seal: readonly string[], damages: Error[] = []) => {
    const opened = await open(url, seal, { damages });
    onTestFinished(() => opened.close());
    if (!('shared' in opened)) throw new Error('not shared');
    return opened;
  };

  test('overwrites no record, whatever it calls (P18)', async () => {
    const url = URLS.redis();
    const good = await shared(url, [K1]);
    await good.shared.replace(record(), null, '1.a');
    const before = await stored(url);
    const damages: Error[] = [];
    const { shared: wrong } = await shared(url, [K2, 'plain'], damages);
    const sealed = { appId: 'wx0001', etag: '1.a', error: expect.objectContaining({ wanted: ID1 }) };
    const poll = await wrong.poll(MEMBER, 0);
    expect(poll).toMatchObject({ changed: [], sealed: { records: [sealed] } });
    expect(poll.sealed?.error.message).toMatch(/1 record cannot be opened/);
    expect(await wrong.read(['wx0001'])).toMatchObject({ records: [], sealed: [sealed] });
    for (const expected of [null, '0.z'])
      expect(await wrong.replace(record({ generation: 1 }), expected, '2.b')).toMatchObject({
        stored: false,
        found: null,
        sealed,
      });
    await expect(wrong.save(record({ generation: 1 }))).rejects.toThrow(/cannot be opened/);
    await expect(wrong.load()).rejects.toThrow(/cannot be opened/);
    expect(damages).toEqual([]);
    expect(await stored(url)).toBe(before);
    expect((await good.shared.read(['wx0001'])).records).toEqual([{ app: record(), etag: '1.a' }]);
  });

  test('that knows a record from before it was sealed does not write over it', async () => {
    const url = URLS.redis();
    const { shared: old } = await shared(url, ['plain']);
    await old.replace(record(), null, '1.a');
    const { position } = await old.poll(MEMBER, 0);
    const { sealing, shared: next } = await shared(url, [K1, 'plain']);
    expect(await sealing.reseal(noPause)).toMatchObject({ resealed: 1 });
    expect(await old.replace(record({ generation: 1 }), '1.a', '2.a')).toMatchObject({ stored: false, sealed: {} });
    expect((await old.poll(MEMBER, position)).sealed?.records).toHaveLength(1);
    expect((await next.poll(MEMBER, position)).changed).toMatchObject([{ app: record() }]);
  });

  test('and any number that seal anew at once leave each record whole', async () => {
    const url = URLS.redis();
    const apps = Array.from({ length: 60 }, (_, i) => record({ appId: `wx${i}` }));
    await save(url, [], ...apps);
    const replicas = [
      await shared(url, [K1, 'plain']),
      await shared(url, ['plain', K1]),
      await shared(url, [K1, 'plain']),
    ];
    await Promise.all(replicas.map(({ sealing }) => sealing.reseal(noPause)));
    expect(await load(url, [K1, 'plain'])).toHaveLength(60);
    await replicas[0]?.sealing.reseal(noPause);
    expect(await load(url, [K1])).toHaveLength(60);
  });
});

describe('sqlite: once every record is sealed anew', () => {
  const filesOf = (path: string) => readdirSync(dirname(path)).map((name) => readFileSync(join(dirname(path), name)));
  const isAnywhere = (path: string, text: string) => filesOf(path).some((bytes) => bytes.includes(text));

  /** A file in which tokens came and went, and of which much was freed, still open. */
  async function used(url: string): Promise<void> {
    await using(url, [], async (opened) => {
      const apps = Array.from({ length: 40 }, (_, i) => record({ appId: `wx${i}` }));
      for (const round of [1, 2, 3])
        for (const app of apps)
          await recordsOf(opened).save({
            ...app,
            current: token(`${TOKEN}-${round}-${app.appId}`),
            previous: token(TOKEN.repeat(round)),
          });
    });
  }

  test('no copy of a token is left in the file, its log or its journal (P18)', async () => {
    const url = URLS.sqlite();
    const path = url.slice(7);
    await used(url);
    const opened = await open(url, [K1, 'plain']);
    onTestFinished(() => opened.close());
    expect(isAnywhere(path, TOKEN)).toBe(true);
    expect(await opened.sealing.reseal(noPause)).toMatchObject({ resealed: 40, scrub: 'scrubbed' });
    expect(isAnywhere(path, TOKEN)).toBe(false);
    expect(await opened.sealing.reseal(noPause)).toMatchObject({ resealed: 0, scrub: 'clean' });
    expect(await recordsOf(opened).load()).toHaveLength(40);
  });

  test('it is rewritten also where refreshes sealed the last plain record, or the process ended before it was', async () => {
    const url = URLS.sqlite();
    const path = url.slice(7);
    await save(url, [], record());
    await save(url, [K1, 'plain'], record({ generation: 2 }));
    // Opened again, it finds nothing plain, and what is no longer used is.
    const opened = await open(url, [K1, 'plain']);
    onTestFinished(() => opened.close());
    expect(isAnywhere(path, TOKEN)).toBe(false);
    expect(await opened.sealing.reseal(noPause)).toMatchObject({ scrub: 'clean' });
  });

  test('it is rewritten for each new key, and again after a time in the plain', async () => {
    const url = URLS.sqlite();
    await used(url);
    for (const seal of [
      [K1, 'plain'],
      [K2, K1],
    ])
      expect(await reseal(url, seal)).toMatchObject({ scrub: 'scrubbed' });
    await save(url, ['plain', K2], record({ generation: 9_000 }));
    expect(await reseal(url, ['plain', K2])).toMatchObject({ resealed: 0, scrub: undefined });
    expect(await reseal(url, [K2, 'plain'])).toMatchObject({ resealed: 1, scrub: 'scrubbed' });
    expect(isAnywhere(url.slice(7), TOKEN)).toBe(false);
  });

  test('a large file is rewritten when it is opened next, and not while callers wait', async () => {
    const url = URLS.sqlite();
    const path = url.slice(7);
    await used(url);
    const db = new DatabaseSync(path);
    db.exec(`INSERT INTO permits (app_id, kind, value, to_user, template_id, collect_time, uses, reserved)
      VALUES ('wx', 'form_id', hex(zeroblob(${5 * 2 ** 20})), 'o', '', 0, 1, 0)`);
    db.close();
    expect(await reseal(url, [K1, 'plain'])).toMatchObject({ resealed: 40, scrub: 'later' });
    expect(isAnywhere(path, TOKEN)).toBe(true);
    expect(await reseal(url, [K1, 'plain'])).toMatchObject({ scrub: 'clean' });
    expect(isAnywhere(path, TOKEN)).toBe(false);
  });
});

describe('a copy', () => {
  test.each(KINDS)(
    'from and to %s is opened with the keys of the one and sealed with those of the other',
    async (kind) => {
      const [from, to] = [URLS[kind](), URLS[kind]()];
      await save(from, [K1], record());
      await using(from, [K1], (source) =>
        using(to, [K2], async (target) => {
          const sides = [
            { name: 'from', opened: source },
            { name: 'to', opened: target },
          ] as const;
          await copyStore(...sides, { force: false, clock: systemClock });
        }),
      );
      expect(keyOf(await textOf(to))).toBe(ID2);
      expect(await load(to, [K2])).toEqual([record()]);
      expect(await load(from, [K1])).toEqual([record()]);
    },
  );

  test.each(KINDS)('to %s does not write over what it cannot open, not even when forced (P18)', async (kind) => {
    const [from, to] = [URLS[kind](), URLS[kind]()];
    await save(from, [], record({ generation: 9_000_000_000_000 }));
    await save(to, [K1], record());
    const before = await stored(to);
    const copying = using(from, [], (source) =>
      using(to, [K2], (target) =>
        copyStore(
          { name: 'from', opened: source },
          { name: 'to', opened: target },
          { force: true, clock: systemClock },
        ),
      ),
    );
    await expect(copying).rejects.toThrow(/cannot be opened/);
    expect(await stored(to)).toBe(before);
  });
});
