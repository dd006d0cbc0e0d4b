import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { openDatabase, openMemory } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { Turns } from '../support/turns.ts';
import { ledgerContract } from './ledger-contract.ts';
import {
  DAY,
  FORM,
  form,
  KEY,
  NOW,
  OPENID,
  payment,
  permitOf,
  REFUSED,
  SENT,
  send,
  settlement,
} from './ledger-support.ts';
import { expectStoreError, newPath, record } from './support.ts';

ledgerContract('memory', async () => {
  const { ledger, local: store } = storeIn(openMemory(), 'memory:');
  return { ledger, close: () => store.close() };
});
ledgerContract('sqlite', async () => {
  const path = newPath();
  const { ledger, local: store } = storeIn(openDatabase(path), path);
  return { ledger, close: () => store.close() };
});

describe('a file of schema version 1', () => {
  test('becomes one of version 4: its records survive, and it has a ledger', async () => {
    const path = newPath();
    const released = new DatabaseSync(path);
    released.exec(
      `CREATE TABLE app (app_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
       PRAGMA application_id = 1282433385; PRAGMA user_version = 1; PRAGMA journal_mode = WAL`,
    );
    released.prepare('INSERT INTO app VALUES (?, ?)').run('wx0001', JSON.stringify(record()));
    released.close();
    for (const begun of ['begun', 'unsettled']) {
      const db = openDatabase(path);
      const { ledger, local: store } = storeIn(db, path);
      expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: 5 });
      expect(await store.load()).toEqual([record()]);
      expect(await ledger.begin(send({ key: KEY }))).toMatchObject({ kind: begun });
      await store.close();
    }
  });
});

test('a file of schema version 2 with permits counts them as version 3 does', async () => {
  const path = newPath();
  const before = new DatabaseSync(path);
  for (const migration of MIGRATIONS.slice(0, 2)) before.exec(migration);
  before.exec('PRAGMA application_id = 1282433385; PRAGMA user_version = 2');
  const insert = before.prepare(
    `INSERT INTO permits (app_id, kind, value, to_user, template_id, collect_time, expire_time, uses, reserved)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  insert.run('wx1', 'form_id', 'used', OPENID, '', NOW, NOW + DAY, 0, 0);
  insert.run('wx1', 'form_id', 'reserved', OPENID, '', NOW, NOW + DAY, 1, 1);
  insert.run('wx1', 'prepay_id', 'p', OPENID, '', NOW, NOW + DAY, 3, 1);
  insert.run('wx1', 'consent', 'c', OPENID, 't1', NOW, null, 1, 0);
  before.close();
  const { ledger, local: store } = storeIn(openDatabase(path), path);
  const counts = await ledger.count('wx1', undefined, NOW);
  expect(counts).toEqual(await ledger.count('wx1', OPENID, NOW));
  expect(counts).toMatchObject([
    { kind: 'consent', expireDay: null, permits: 1, messages: 1 },
    { kind: 'prepay_id', permits: 1, messages: 2 },
  ]);
  expect(await ledger.deposit('wx1', [form('new')], 3)).toBe('full');
  await store.close();
});

test('deposits that come together are committed one after another, and others have their turn in between', async () => {
  const { ledger, local: store } = storeIn(openMemory(), 'memory:');
  using turns = new Turns();
  const deposits = Array.from({ length: 6 }, (_, i) =>
    ledger.deposit(
      'wx1',
      Array.from({ length: 1000 }, (_, j) => form(`${i}-${j}`)),
    ),
  );
  await Promise.all(deposits);
  expect(turns.count).toBeGreaterThanOrEqual(5);
  await store.close();
});

/** Runs sender-process.ts until it has ended; `onLine` may kill it. Returns what it acknowledged. */
async function runSender(path: string, point: string, onLine = (_: string, __: () => void): void => {}) {
  const script = join(import.meta.dirname, 'sender-process.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, path, point], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const lines: string[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      onLine(line, () => child.kill('SIGKILL'));
    }
  } finally {
    child.kill('SIGKILL');
  }
  expect(await exit).toEqual([null, 'SIGKILL']);
  return lines;
}

describe('a process that is killed', () => {
  const nothing = { kind: 'begun', permit: { kind: 'form_id', value: 'f1' } };
  const begun = {
    kind: 'unsettled',
    sendId: 'first',
    owner: '',
    startTime: NOW,
    permit: { kind: 'form_id', value: 'f1' },
  };
  const settled = { kind: 'settled', outcome: SENT };

  test.each([
    ['before the commit of begin', [], nothing, 1],
    ['in the transaction of begin', [], nothing, 1],
    ['after begin', ['begun f1'], begun, 1],
    ['before the commit of settle', ['begun f1'], begun, 1],
    ['in the transaction of settle', ['begun f1'], begun, 1],
    ['after settle', ['begun f1', 'settled'], settled, 1],
  ])('%s', async (point, acknowledged, found, left) => {
    const path = newPath();
    const before = storeIn(openDatabase(path), path);
    await before.ledger.deposit('wx1', [form('f1', { collectTime: NOW - 2 }), form('f2', { collectTime: NOW - 1 })]);
    await before.close();

    expect(await runSender(path, point)).toEqual(acknowledged);
    for (const isRecovered of [false, true]) {
      const { ledger, local: store } = storeIn(openDatabase(path), path);
      if (isRecovered && found !== nothing) await ledger.recover(NOW, '');
      expect(await ledger.begin(send({ key: 'first', permit: FORM }))).toEqual(
        isRecovered && found === nothing ? { ...begun, sendId: expect.any(String) } : found,
      );
      expect(await ledger.count('wx1', OPENID, NOW)).toMatchObject([{ messages: left }]);
      await store.close();
    }
  });

  test.each([3, 10, 41])(
    'among concurrent sends, after line %i: none is lost, no permit is reserved twice',
    async (after) => {
      const path = newPath();
      const before = storeIn(openDatabase(path), path);
      const deposited = 3000;
      const permits = Array.from({ length: deposited / 3 }, (_, i) => payment(`p${i}`));
      await before.ledger.deposit('wx1', permits);
      await before.close();

      let count = 0;
      const lines = await runSender(path, '', (_, kill) => {
        if (++count === after) kill();
      });
      const db = openDatabase(path);
      const { ledger, local: store } = storeIn(db, path);
      const [sums] = db
        .prepare(
          `SELECT (SELECT sum(uses) FROM permits) AS uses, (SELECT sum(reserved) FROM permits) AS reserved,
           (SELECT count(permit_id) FROM sends) AS holders,
           (SELECT count(*) FROM sends WHERE outcome IS NOT NULL) AS settled,
           (SELECT count(*) FROM permits WHERE reserved > uses) AS overdrawn`,
        )
        .all() as Record<string, number>[];
      expect(sums?.['reserved']).toBe(sums?.['holders']);
      expect(deposited - Number(sums?.['uses'])).toBe(sums?.['settled']);
      expect(sums?.['overdrawn']).toBe(0);

      const settled = new Set(lines.flatMap((line) => /^settled (\S+)$/.exec(line)?.[1] ?? []));
      for (const line of lines) {
        const [, key, value] = /^begun (key-\S+) (\S+)$/.exec(line) ?? [];
        if (!key) continue;
        const found = await ledger.begin(send({ key, permit: FORM }));
        if (settled.has(key)) expect(found).toEqual({ kind: 'settled', outcome: SENT });
        // A settlement may have been durable before it could be acknowledged.
        else if (found.kind !== 'settled')
          expect(found).toMatchObject({ kind: 'unsettled', sendId: key, permit: { value } });
      }
      await store.close();
    },
  );
});

describe('a ledger that cannot be written', () => {
  test('rejects what it was asked, keeps what it had, and goes on once there is room', async () => {
    const path = newPath();
    const db = openDatabase(path);
    const { ledger, local: store } = storeIn(db, path);
    await ledger.deposit('wx1', [form('f1')]);
    const first = send({ key: 'first', permit: FORM });
    expect(permitOf(await ledger.begin(first))?.value).toBe('f1');
    // SQLite reports a file that may not grow just as it reports a disk that is full.
    db.exec('PRAGMA max_page_count = 1');
    const forms = Array.from({ length: 1000 }, (_, i) => form(`more-${i}`));
    const asked = [
      ledger.deposit('wx1', forms),
      ledger.begin(send({ key: KEY, digest: 'long'.repeat(5_000) })),
      ledger.settle(first.sendId, settlement(SENT)),
    ];
    for (const one of asked) {
      await expectStoreError(() => one, path, /disk is full/);
      const error = await one.catch((reason: Error) => reason);
      for (const secret of [OPENID, KEY]) expect(String((error as Error).stack).includes(secret)).toBe(false);
    }
    db.exec('PRAGMA max_page_count = 100000');
    expect(await ledger.begin(send({ key: 'first' }))).toMatchObject({ kind: 'unsettled', permit: { value: 'f1' } });
    await ledger.settle(first.sendId, settlement(SENT));
    expect(await ledger.begin(send({ key: 'first' }))).toEqual({ kind: 'settled', outcome: SENT });
    expect(await ledger.deposit('wx1', forms)).toMatchObject({ deposited: 1000, duplicates: 0 });
    await store.close();
  });

  test.each(['', '{"kind":"sent"}', '{"kind":"refused","message":"oABC-the-openid-itself', '{"kind":"lost"}'])(
    'a damaged outcome is said to be one, and not shown: %#',
    async (text) => {
      const path = newPath();
      const db = openDatabase(path);
      const { ledger, local: store } = storeIn(db, path);
      const [bad, good] = [send({ key: KEY }), send({ key: 'good' })] as const;
      for (const one of [bad, good]) {
        await ledger.begin(one);
        await ledger.settle(one.sendId, settlement(REFUSED));
      }
      db.prepare('UPDATE sends SET outcome = ? WHERE key = ?').run(text, KEY);
      const [asked, other] = [ledger.begin(send({ key: KEY })), ledger.begin(send({ key: 'good' }))];
      await expectStoreError(() => asked, path, /outcome of a message is damaged/);
      const error = await asked.catch((reason: Error) => reason);
      for (const secret of [OPENID, KEY]) expect(String((error as Error).stack).includes(secret)).toBe(false);
      expect(await other).toEqual({ kind: 'settled', outcome: REFUSED });
      await store.close();
    },
  );
});

/** What is left on the heap once it is swept. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

test('100,000 messages without key leave nothing behind, in the file or in memory', async () => {
  const path = newPath();
  const db = openDatabase(path);
  const { ledger, local: store } = storeIn(db, path);
  const exchange = async (count: number) => {
    for (let i = 0; i < count; i += 250) {
      const ids = Array.from({ length: 250 }, () => randomUUID());
      await Promise.all(ids.map((sendId) => ledger.begin(send({ sendId }))));
      await Promise.all(ids.map((sendId) => ledger.settle(sendId, settlement(SENT))));
    }
  };
  const size = () => statSync(path).size + statSync(`${path}-wal`).size;
  await exchange(5_000);
  const [bytes, heap] = [size(), heapUsed()];
  await exchange(95_000);
  expect(db.prepare('SELECT count(*) AS sends FROM sends').get()).toEqual({ sends: 0 });
  // The log is started over whenever it has a thousand pages, give or take a commit.
  expect(size()).toBeLessThan(Math.max(bytes, 5_000_000) + 500_000);
  // A hundred thousand ids alone would be more.
  expect(heapUsed() - heap).toBeLessThan(4_000_000);
  await store.close();
  expect(statSync(path).size).toBeLessThan(500_000);
});

test.runIf(process.platform === 'linux')('nothing is ever written to a temporary folder', async () => {
  const path = newPath();
  const { ledger, local: store } = storeIn(openDatabase(path), path);
  // Each lies between the ones before: more changed pages than a savepoint's journal keeps in memory by default.
  for (const name of ['a', 'b', 'c', 'd', 'e'])
    await ledger.deposit(
      'wx1',
      Array.from({ length: 1000 }, (_, i) => form(`${i}-${name}`)),
    );
  const open = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return [];
    }
  });
  expect(open.some((file) => file.startsWith(path))).toBe(true);
  expect(open.filter((file) => file.includes('etilqs'))).toEqual([]);
  await store.close();
});
