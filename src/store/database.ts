import { accessSync, chmodSync, closeSync, constants, openSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { explain, StoreError } from './errors.ts';
import { MIGRATIONS } from './schema.ts';

/** "Lpai": marks the file as Lingpai's, so that no other program's database is ever written to. */
const APPLICATION_ID = 0x4c70_6169;

const BUSY_TIMEOUT_MS = 200;

/**
 * Opens, and makes where there is none, the database in this file, at the newest schema version.
 *
 * It is private to its owner (mode 0600) before anything is written, durable at each commit (WAL, synchronous FULL), and
 * locked until it is closed or the process ends. Throws a StoreError; a file that is not Lingpai's stays as it is.
 */
export function openDatabase(path: string): DatabaseSync {
  const file = resolve(path);
  let db: DatabaseSync | undefined;
  try {
    prepareFile(file);
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    // Exclusive before the first access: the lock is then held for good, and WAL needs no shared-memory file.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL');
    // With that lock a savepoint's journal that was once too large for memory would stay a file in the temporary folder, and
    // every operation would write what it is about to change there too.
    db.exec('PRAGMA temp_store = MEMORY; BEGIN EXCLUSIVE');
    const version = identify(db, file);
    makePrivate(file);
    for (const migration of MIGRATIONS.slice(version)) db.exec(migration);
    // Written even when nothing changes: a full disk or a read-only file shows here and not at the first token.
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
    db.exec('PRAGMA journal_mode = WAL');
    return db;
  } catch (error) {
    db?.close();
    throw explain(error, file);
  }
}

/** Opens an empty database that lasts until it is closed. */
export function openMemory(): DatabaseSync {
  const db = new DatabaseSync(':memory:');
  for (const migration of MIGRATIONS) db.exec(migration);
  return db;
}

/**
 * Makes an empty file where there is none. One that exists is looked at by its path only: closing a descriptor of it would
 * drop the locks that another connection in this process holds.
 */
function prepareFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
    return;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  if (!statSync(file).isFile()) throw new StoreError(`${file} is not a file. Give the path of a file in that folder.`);
  accessSync(file, constants.R_OK | constants.W_OK);
  accessSync(dirname(file), constants.W_OK | constants.X_OK);
}

/** The schema version of a whole database that is Lingpai's or empty (0). Throws a StoreError for any other. */
function identify(db: DatabaseSync, file: string): number {
  const applicationId = value(db, 'PRAGMA application_id');
  const version = Number(value(db, 'PRAGMA user_version'));
  const isEmpty = applicationId === 0 && version === 0 && value(db, 'SELECT count(*) FROM sqlite_schema') === 0;
  if (applicationId !== APPLICATION_ID && !isEmpty)
    throw new StoreError(
      `${file} is the database of another program. Give the path of a file that the broker made, or of none.`,
    );
  if (version > MIGRATIONS.length)
    throw new StoreError(
      `${file} was written by a newer Lingpai (schema ${version}; this one knows ${MIGRATIONS.length}). Run that version, or give another path.`,
    );
  if (value(db, 'PRAGMA quick_check(1)') !== 'ok')
    throw new StoreError(
      `${file} is damaged. Restore it from a backup, or move it away: the broker then asks WeChat for new tokens.`,
    );
  return version;
}

/** The one value that a query answers with. */
function value(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0];
}

function makePrivate(file: string): void {
  for (const path of [file, `${file}-wal`, `${file}-journal`]) {
    const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0;
    if (mode & 0o077) chmodSync(path, 0o600);
  }
}
