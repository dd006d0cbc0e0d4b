import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { openDatabase, openMemory } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import { storeContract } from './contract.ts';
import { expectStoreError, newPath, openAt, record, TOKEN, token } from './support.ts';

storeContract('memory', async () => storeIn(openMemory(), 'memory:').local);
storeContract('sqlite', async () => openAt(newPath()));

const modeOf = (path: string): number => statSync(path).mode & 0o777;

/** A database made by hand, closed. */
function handmade(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

/** A store in which one app was saved, closed. */
async function savedAt(path: string, app: StoredApp = record()): Promise<void> {
  const store = openAt(path);
  await store.save(app);
  await store.close();
}

describe('a file', () => {
  test('is private before anything is in it, and so is its log', async () => {
    const path = newPath();
    const before = process.umask(0);
    try {
      const store = openAt(path);
      await store.save(record());
      expect(modeOf(path)).toBe(0o600);
      expect(modeOf(`${path}-wal`)).toBe(0o600);
      expect(existsSync(`${path}-shm`)).toBe(false);
      await store.close();
    } finally {
      process.umask(before);
    }
  });

  test('that others could read becomes private when it is opened', async () => {
    const path = newPath();
    await savedAt(path);
    chmodSync(path, 0o644);
    const store = openAt(path);
    expect(modeOf(path)).toBe(0o600);
    expect(modeOf(`${path}-wal`)).toBe(0o600);
    await store.close();
  });

  test('is durable at each commit', () => {
    const db = openDatabase(newPath());
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
    db.close();
  });

  test('keeps its records while nobody has it open', async () => {
    const path = newPath();
    await savedAt(path, record({ appId: 'wx1' }));
    await savedAt(path, record({ appId: 'wx2' }));
    const store = openAt(path);
    expect(await store.load()).toEqual([record({ appId: 'wx1' }), record({ appId: 'wx2' })]);
    await store.close();
  });

  test('has a save that was under way when the store was closed', async () => {
    const path = newPath();
    const store = openAt(path);
    const saving = store.save(record());
    await store.close();
    await saving;
    const again = openAt(path);
    expect(await again.load()).toEqual([record()]);
    await again.close();
  });

  test('that is empty becomes a store of schema version 5', async () => {
    const path = newPath();
    writeFileSync(path, '', { mode: 0o644 });
    await savedAt(path);
    expect(modeOf(path)).toBe(0o600);
    const db = new DatabaseSync(path);
    expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: 5 });
    expect(db.prepare('PRAGMA application_id').get()).toEqual({ application_id: 0x4c706169 });
    db.close();
  });

  test('of schema version 1 as released is read', async () => {
    const path = newPath();
    handmade(
      path,
      `CREATE TABLE app (app_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
       PRAGMA application_id = 1282433385; PRAGMA user_version = 1;
       INSERT INTO app VALUES ('wx0001', '{"appId":"wx0001","issuer":"classic","generation":5,"current":{"value":"t","id":"i",
         "issueTime":1,"expireTime":2},"previous":null,"budget":{"day":1,"mints":2,"forced":3},"lastMintTime":4,
         "lastForcedTime":5,"openMints":6}')`,
    );
    const store = openAt(path);
    expect(await store.load()).toEqual([
      {
        appId: 'wx0001',
        issuer: 'classic',
        generation: 5,
        current: { value: 't', id: 'i', issueTime: 1, expireTime: 2 },
        previous: null,
        budget: { day: 1, mints: 2, forced: 3 },
        lastMintTime: 4,
        lastForcedTime: 5,
        openMints: 6,
      },
    ]);
    await store.close();
  });

  test('may have a name that SQLite would take for something else', async () => {
    const path = newPath();
    await savedAt(`file:/../${relative(process.cwd(), path)}`);
    expect(statSync(path).size).toBeGreaterThan(0);
  });
});

describe('a file that cannot be the store is refused and left as it is', () => {
  /** Refused with these words, and not a byte or a permission changed. */
  async function expectRefused(path: string, words: RegExp): Promise<void> {
    const before = readFileSync(path);
    const mode = modeOf(path);
    await expectStoreError(() => openAt(path), path, words);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(modeOf(path)).toBe(mode);
  }

  test.each([
    ['a few bytes', 'hello'],
    ['a text', 'apps:\n'.repeat(5000)],
    ['zeros', Buffer.alloc(8192)],
  ])('%s', async (_, bytes) => {
    const path = newPath();
    writeFileSync(path, bytes, { mode: 0o644 });
    await expectRefused(path, /is not a database/);
  });

  test.each([
    ['tables of its own', 'CREATE TABLE users (id)'],
    ['another application id', 'PRAGMA application_id = 7'],
    ['another application id and our table', 'CREATE TABLE app (app_id, record); PRAGMA application_id = 7'],
    ['a version but no application id', 'PRAGMA user_version = 1'],
    ['WAL mode', 'PRAGMA journal_mode = WAL; CREATE TABLE app (app_id, record); PRAGMA user_version = 1'],
  ])('a foreign database with %s', async (_, sql) => {
    const path = newPath();
    handmade(path, sql);
    chmodSync(path, 0o644);
    await expectRefused(path, /database of another program/);
  });

  test('a newer schema', async () => {
    const path = newPath();
    await savedAt(path);
    handmade(path, 'PRAGMA user_version = 6');
    await expectRefused(path, /newer Lingpai \(schema 6; this one knows 5\)/);
    // What was refused is let go of.
    handmade(path, 'PRAGMA user_version = 5');
    await openAt(path).close();
  });

  test.each([
    ['cut short', (bytes: Buffer) => bytes.subarray(0, 5000)],
    ['with its schema overwritten', (bytes: Buffer) => Buffer.from(bytes).fill(0x55, 100, 4096)],
    ['with its records overwritten', (bytes: Buffer) => Buffer.from(bytes).fill(0x55, 4096)],
  ])('a store that was %s', async (_, harm) => {
    const path = newPath();
    await savedAt(path);
    writeFileSync(path, harm(readFileSync(path)));
    await expectRefused(path, /is damaged/);
  });

  test('a store without its table', async () => {
    const path = newPath();
    await savedAt(path);
    handmade(path, 'DROP TABLE app');
    await expectStoreError(() => openAt(path), path, /is damaged/);
  });
});

describe('a place where no store can be', () => {
  test('a folder that does not exist', async () => {
    const path = newPath('no-such-folder/lingpai.db');
    await expectStoreError(() => openAt(path), path, /folder does not exist/);
    expect(existsSync(dirname(path))).toBe(false);
  });

  test('a file as folder', async () => {
    const path = newPath();
    writeFileSync(path, '');
    await expectStoreError(() => openAt(join(path, 'x.db')), path, /is a file and not a folder/);
  });

  test('a folder as file', async () => {
    const path = newPath();
    mkdirSync(path);
    await expectStoreError(() => openAt(path), path, /is not a file/);
  });

  // No permission bits hold root back, but nobody can make a file in /sys.
  test.runIf(process.platform === 'linux')('a read-only folder', async () => {
    const path = '/sys/lingpai-test.db';
    await expectStoreError(() => openAt(path), path, /cannot be written/);
  });

  test('a read-only file, a read-only folder with a file', async () => {
    const path = newPath();
    await savedAt(path);
    await asOrdinaryUser([dirname(path), path], async () => {
      chmodSync(path, 0o400);
      await expectStoreError(() => openAt(path), path, /cannot be (read or )?written/);
      chmodSync(path, 0o600);
      chmodSync(dirname(path), 0o500);
      await expectStoreError(() => openAt(path), path, /cannot be (read or )?written/);
      chmodSync(dirname(path), 0o700);
    });
  });
});

/** Permissions do not hold root back, who gives the paths to nobody and becomes nobody for as long as it takes. */
async function asOrdinaryUser(paths: readonly string[], run: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) return run();
  const nobody = 65_534;
  for (const path of paths) chownSync(path, nobody, nobody);
  process.seteuid?.(nobody);
  try {
    await run();
  } finally {
    process.seteuid?.(0);
  }
}

describe('a damaged record', () => {
  const whole = record();
  test.each([
    ['not JSON', `{"value":"${TOKEN}`, /the record/],
    ['empty', '', /the record/],
    ['a number', '5', /the record/],
    ['another app in it', JSON.stringify(record({ appId: 'wx2' })), /another app/],
    ['a generation that is no integer', JSON.stringify({ ...whole, generation: 1.5 }), /generation/],
    ['a negative generation', JSON.stringify({ ...whole, generation: -1 }), /generation/],
    ['a generation beyond 2^53', JSON.stringify({ ...whole, generation: 2 ** 60 }), /generation/],
    ['a generation that is text', JSON.stringify({ ...whole, generation: TOKEN }), /generation/],
    ['no budget', JSON.stringify({ ...whole, budget: undefined }), /budget/],
    ['no current', JSON.stringify({ ...whole, current: undefined }), /current/],
    ['an empty token', JSON.stringify({ ...whole, current: token('') }), /current\.value/],
    ['a time that is null', JSON.stringify({ ...whole, lastMintTime: Number.NaN }), /lastMintTime/],
    ['an unknown issuer', JSON.stringify({ ...whole, issuer: TOKEN }), /issuer/],
    ['a count below 0', JSON.stringify({ ...whole, openMints: -1 }), /openMints/],
  ])('%s', async (_, text, words) => {
    const path = newPath();
    await savedAt(path);
    const db = new DatabaseSync(path);
    db.prepare('UPDATE app SET record = ?').run(text);
    db.close();
    const store = openAt(path);
    await expectStoreError(() => store.load(), path, words);
    await expectStoreError(() => store.load(), path, /app wx0001 is damaged/);
    await store.close();
  });
});

describe('a commit that fails', () => {
  test('fails all that share it, and leaves nothing of them', async () => {
    const path = newPath();
    const db = openDatabase(path);
    const { local: store } = storeIn(db, path);
    // A reference that is checked at the commit and not before.
    db.exec('CREATE TABLE child (id REFERENCES app (app_id) DEFERRABLE INITIALLY DEFERRED)');
    db.exec("CREATE TEMP TRIGGER orphan AFTER INSERT ON app BEGIN INSERT INTO child VALUES ('nobody'); END");
    const saves = ['wx1', 'wx2'].map((appId) => store.save(record({ appId })));
    for (const save of saves) await expectStoreError(() => save, path, /cannot be used/);
    expect(await store.load()).toEqual([]);
    db.exec('DROP TRIGGER orphan');
    await store.save(record());
    expect(await store.load()).toEqual([record()]);
    await store.close();
  });
});

test('what comes after the store was closed is rejected', async () => {
  const path = newPath();
  const { local: store, ledger } = storeIn(openDatabase(path), path);
  await store.close();
  await expectStoreError(() => store.save(record()), path, /cannot be used/);
  await expectStoreError(() => ledger.count('wx1', undefined, 0), path, /cannot be used/);
});

describe('a disk that is full while the broker runs', () => {
  test('the save rejects, the old records are intact, and later saves succeed once there is room', async () => {
    const path = newPath();
    const db = openDatabase(path);
    const store = storeIn(db, path).local;
    await store.save(record());
    // SQLite reports a file that may not grow just as it reports a disk that is full.
    db.exec('PRAGMA max_page_count = 1');
    const large = record({ generation: 2, current: token('x'.repeat(100_000)) });
    const saves = [store.save(large), store.save(record({ appId: 'wx2' }))];
    for (const save of saves) await expectStoreError(() => save, path, /disk is full/);
    expect(await store.load()).toEqual([record()]);
    db.exec('PRAGMA max_page_count = 10000');
    await store.save(large);
    await store.close();
    const again = openAt(path);
    expect(await again.load()).toEqual([large]);
    await again.close();
  });
});

test('a save that fails leaves nothing of it, and does not harm those that share its commit', async () => {
  const path = newPath();
  const db = openDatabase(path);
  const store = storeIn(db, path).local;
  db.exec(
    "CREATE TEMP TRIGGER refuse BEFORE INSERT ON app WHEN new.app_id = 'wx2' BEGIN SELECT RAISE(FAIL, 'no'); END",
  );
  const saves = ['wx1', 'wx2', 'wx3'].map((appId) => store.save(record({ appId })));
  await expectStoreError(() => saves[1], path, /cannot be used/);
  await Promise.all([saves[0], saves[2]]);
  expect(await store.load()).toEqual([record({ appId: 'wx1' }), record({ appId: 'wx3' })]);
  await store.close();
});

describe('two brokers and one file', () => {
  test('the second one in the same process is refused, and the first goes on', async () => {
    const path = newPath();
    const first = openAt(path);
    for (let i = 0; i < 2; i++) await expectStoreError(() => openAt(path), path, /in use by another process/);
    await first.save(record());
    expect(await first.load()).toEqual([record()]);
    await first.close();
    await openAt(path).close();
  });

  test('a process that is killed between and during saves loses nothing that was durable, and its lock', async () => {
    const path = newPath();
    let before = 0;
    for (const saves of [1, 5, 20]) {
      const { lines, kill } = startSaver(path);
      const acknowledged: number[] = [];
      for await (const line of lines) {
        acknowledged.push(Number(line));
        if (acknowledged.length === saves) {
          await expectStoreError(() => openAt(path), path, /in use by another process/);
          kill();
        }
      }
      const last = acknowledged.at(-1) ?? 0;
      expect(last).toBeGreaterThanOrEqual(before + saves);
      const store = openAt(path);
      const [app, ...others] = await store.load();
      await store.close();
      // The save after the last acknowledged one may have been durable already.
      before = app?.generation ?? 0;
      expect([last, last + 1]).toContain(before);
      expect(app).toEqual(record({ generation: before, current: token(`${before},`.repeat(3000)) }));
      expect(others).toEqual([]);
    }
  });
});

/** Runs saver-process.ts on this file; `lines` end when the process has ended. */
function startSaver(path: string): { lines: AsyncIterable<string>; kill: () => void } {
  const script = join(import.meta.dirname, 'saver-process.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  async function* lines(): AsyncIterable<string> {
    try {
      yield* createInterface({ input: child.stdout });
    } finally {
      child.kill('SIGKILL');
      await exit;
    }
  }
  return { lines: lines(), kill: () => child.kill('SIGKILL') };
}
